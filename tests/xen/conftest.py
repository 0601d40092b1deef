# SPDX-License-Identifier: GPL-2.0-or-later
"""Gives tests a real dom0 on a real Xen, in QEMU; a test that fails there shows every console with it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from corpus import CorpusError
from tests.conftest import RealFiles, Tool, lacks
from tests.xen.boots import Boots
from xen_bed import resume
from xen_jobs import Dom0
from xen_machine import MEMORY, Dom0Error

NEEDED_MIB = 1536
"""MiB that the machine takes of the host's memory when it runs a few small guests in it."""
BY_ITSELF = "Domain-0"


def available_mib() -> int:
    """Return how much memory the host has for new programs."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return int(found[1]) >> 10 if found else 0


def require_mib(needed: int) -> None:
    """End a test that needs more memory than the host has."""
    if (found := available_mib()) < needed:
        lacks(f"expected {needed} MiB of available memory for a machine with Xen in it, found {found} MiB")


class Dom0s:
    """The dom0 of a module's tests: one has what another had, unless that failed or left a domain in it."""

    def __init__(self) -> None:
        self.running: Dom0 | None = None

    def take(self) -> Dom0:
        """Return a dom0 without any domU."""
        if self.running is None:
            require_mib(NEEDED_MIB)
            try:
                self.running = resume(MEMORY)
            except CorpusError as error:
                lacks(str(error))
        return self.running

    def give_back(self) -> None:
        """Keep it for the next test when it is as it was."""
        listing = "xl list | tail -n +2 | cut -d' ' -f1"
        with contextlib.suppress(Dom0Error):
            # Without its xenstored xl waits for ever.
            if self.running and self.running.run(listing, seconds=20).text.split() == [BY_ITSELF]:
                return
        self.drop()

    def drop(self) -> None:
        """End it."""
        if self.running is not None:
            self.running.close()
            self.running = None


@pytest.fixture(scope="module")
def dom0s(tool: Tool) -> Iterator[Dom0s]:
    """Give the dom0 of a module, for its own fixtures."""
    tool("qemu-system-x86_64")
    held = Dom0s()
    yield held
    held.drop()


@pytest.fixture
def dom0(dom0s: Dom0s) -> Iterator[Dom0]:
    """Give a dom0 without any domU."""
    yield dom0s.take()
    dom0s.give_back()


@pytest.fixture(scope="session")
def boots(corpus: RealFiles, tmp_path_factory: pytest.TempPathFactory) -> Boots:
    """Boot a kernel of the corpus in a domU, with the probe."""
    return Boots(corpus, tmp_path_factory.mktemp("initrd"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the consoles with a failure, and have the next test start afresh."""
    report = yield
    held = getattr(item, "funcargs", {}).get("dom0s")
    if report.failed and isinstance(held, Dom0s) and held.running is not None:
        report.sections += [(f"{name}", text) for name, text in held.running.pictures().items()]
        held.drop()
    return report
