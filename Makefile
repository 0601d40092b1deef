# SPDX-License-Identifier: GPL-2.0-or-later
# Everything that is done to pvefi, by name. `make` alone lists it.

KERNEL ?=
ARGS   ?=
PYTHON := .venv/bin/python
export KERNEL # recipes take it from the environment: a path may hold any character

.PHONY: help boot test test-all test-xen golden bench evaluation docs guest xen-demo environment environment-dev packages clean

help: ## list the targets
	@echo 'pvefi: boot unmodified kernels through their EFI entry'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 25
	@echo 'Variables: KERNEL=/path/vmlinuz for boot; ARGS="..." goes to the program that the target runs.'

boot: environment ## boot Debian's kernel to user space where there is QEMU (KERNEL=/path/vmlinuz: to its hand-off)
	@if [ -n "$$KERNEL" ]; then \
		set -- "$$KERNEL" --until handoff; \
	else \
		kernel=$$($(PYTHON) tools/corpus.py path cloud 'boot/vmlinuz-*') || exit $$?; \
		initrd=$$($(PYTHON) tools/probe.py path cloud) || exit $$?; \
		set -- "$$kernel" --initrd "$$initrd" --cmdline 'console=ttyS0 quiet probe=poweroff'; \
	fi; \
	printf '%s\n' "pvefi boot $$*"' $(subst ','\'',$(ARGS))' >&2; \
	exec .venv/bin/pvefi boot "$$@" $(ARGS)

test: packages environment-dev ## run the tests, the linters and the type checker
	@echo 'running the tests (pytest, with ruff and mypy among them)'
	@$(PYTHON) -m pytest -q -m 'not full' $(ARGS)

test-all: packages environment-dev ## run the tests with the full cross products
	@echo 'running all tests, the full cross products too'
	@$(PYTHON) -m pytest -q $(ARGS)

test-xen: packages environment-dev ## run the tests that have a real Xen, in QEMU
	@echo 'running the tests on Xen; the first run makes a dom0 from packages, and keeps it'
	@$(PYTHON) -m pytest -q tests/xen -m 'not full' $(ARGS)

golden: environment-dev ## record the golden traces of tests/golden anew
	@$(PYTHON) -m pytest -q tests/test_corpus_boots.py -k golden --renew-golden $(ARGS)

bench: environment-dev ## measure the figures of docs/figures.md
	@$(PYTHON) bench/run.py $${KERNEL:+--kernel "$$KERNEL"} $(ARGS)

evaluation: packages environment ## reproduce docs/evaluation: Debian's kernels and Xen, by every entry
	@exec $(PYTHON) tools/evaluation.py $(ARGS)

xen-demo: packages environment ## show Xen, its dom0 and a guest, all of them booted through EFI by pvefi
	@exec $(PYTHON) tools/xen_demo.py $(ARGS)

docs: environment-dev ## rewrite the tables of docs/ that are made from the code
	@$(PYTHON) tools/build_docs.py $(ARGS)

guest: packages environment-dev ## rebuild the guest code from its assembly sources
	@$(PYTHON) tools/build_guest.py $(ARGS)

environment: ## make .venv with pvefi and what it needs
	@sh tools/environment.sh

environment-dev: ## the same, with what the tests need
	@sh tools/environment.sh dev

packages: ## install what the tests need of the system (as root, on Debian, when missing)
	@sh tools/packages.sh

clean: ## remove the environment and what tools left behind
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
