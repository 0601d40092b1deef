# SPDX-License-Identifier: GPL-2.0-or-later
"""A domain's life, from its making or finding to its end."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from pvefi.errors import MachineError, UsageError
from pvefi.machines.readiness import is_ready
from pvefi.machines.xen.domain import Domain, attach, create_paused, destroy_by_uuid
from pvefi.machines.xen.ends import DomainEnd
from pvefi.machines.xen.xl_config import DomainConfig
from tests.machines.xen.dom0 import DOMID, HVM, PAUSED, SHUTDOWN, Dom0

PATIENCE = 10.0


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    path = tmp_path / "a kernel"
    path.write_bytes(b"\x7fELF")
    return path


def made(dom0: Dom0, kernel: Path, name: str = "guest") -> Domain:
    return create_paused(DomainConfig(kernel, name), dom0.root, dom0.libraries)


def test_a_domain_is_made_paused_and_nobody_looks_after_it(dom0: Dom0, kernel: Path) -> None:
    with made(dom0, kernel) as domain:
        assert (domain.domid, domain.name, domain.paused, domain.end()) == (DOMID, "guest", True, None)
        (call,) = dom0.calls()
        assert call.split()[:4] == ["create", "-p", "-e", "-q"]
        domain.unpause()
        assert not domain.paused


def test_its_configuration_is_gone_from_the_disk_once_it_is_made(dom0: Dom0, kernel: Path) -> None:
    with made(dom0, kernel):
        assert not Path(dom0.calls()[0].split()[-1]).exists()


@pytest.mark.parametrize(
    ("code", "end"),
    [
        (0, DomainEnd.POWERED_OFF),
        (1, DomainEnd.REBOOTED),
        (2, DomainEnd.SUSPENDED),
        (3, DomainEnd.CRASHED),
        (4, DomainEnd.WATCHDOG),
        (5, DomainEnd.SOFT_RESET),
        (6, DomainEnd.CRASHED),
    ],
)
def test_a_shutdown_is_told_with_its_reason(dom0: Dom0, kernel: Path, code: int, end: DomainEnd) -> None:
    with made(dom0, kernel) as domain:
        domain.seen()
        assert not is_ready(domain.fileno(), 0)
        dom0.flags(code << 16 | SHUTDOWN | HVM)
        assert is_ready(domain.fileno(), PATIENCE)
        domain.seen()
        assert domain.end() is end


@pytest.mark.parametrize("flags", [HVM | 1, None], ids=["dying", "none"])
def test_a_domain_that_somebody_destroys_is_gone(dom0: Dom0, kernel: Path, flags: int | None) -> None:
    with made(dom0, kernel) as domain:
        dom0.flags(flags)
        assert domain.end() is DomainEnd.GONE


def test_destroying_twice_is_destroying_once(dom0: Dom0, kernel: Path) -> None:
    with made(dom0, kernel) as domain:
        domain.destroy()
        domain.destroy()
    assert [call for call in dom0.calls() if call.startswith("destroy")] == [f"destroy {DOMID}"]


def test_the_console_goes_both_ways_and_is_raw(dom0: Dom0, kernel: Path) -> None:
    os.write(dom0.terminal, b"before anybody attached\r\n")
    with made(dom0, kernel) as domain:
        console = domain.console()
        assert is_ready(console, PATIENCE)
        assert os.read(console, 100).startswith(b"before anybody attached")
        os.write(console, b"typed\n")
        assert is_ready(dom0.terminal, PATIENCE)
        assert os.read(dom0.terminal, 100).endswith(b"typed\n")
        assert domain.console() == console


def test_a_name_that_is_taken_is_refused_before_xl_is_asked(dom0: Dom0, kernel: Path) -> None:
    dom0.domain(HVM, name="guest")
    with pytest.raises(UsageError, match="a domain called guest is there already"):
        made(dom0, kernel)
    assert dom0.calls() == []


def refuse(dom0: Dom0, shell: str, when: str = "refusal") -> None:
    path = dom0.root / when
    path.write_text(shell)
    path.chmod(0o755)


def test_xl_s_complaint_is_quoted(dom0: Dom0, kernel: Path) -> None:
    refuse(
        dom0,
        'echo "Parsing config from x" >&2; echo "libxl: error: libxl_dom.c: xc_dom_load failed" >&2\n'
        'echo "libxl: warning: something else" >&2; exit 1\n',
    )
    with pytest.raises(MachineError) as told:
        made(dom0, kernel)
    assert told.value.message == "xl create failed: libxl: error: libxl_dom.c: xc_dom_load failed"


def test_too_little_memory_in_xen_has_a_way_out(dom0: Dom0, kernel: Path) -> None:
    refuse(dom0, 'echo "failed to free memory for the domain" >&2; exit 3\n')
    with pytest.raises(MachineError, match="xl create failed: failed to free memory") as told:
        made(dom0, kernel)
    assert "--memory" in told.value.way_out


def test_what_xl_leaves_of_a_domain_when_it_fails_is_destroyed(dom0: Dom0, kernel: Path) -> None:
    refuse(dom0, "exit 1\n", "after")
    with pytest.raises(MachineError, match="xl create failed"):
        made(dom0, kernel)
    assert dom0.calls()[-1] == f"destroy {DOMID}"
    assert not (dom0.root / "flags" / str(DOMID)).exists()


def test_an_interrupt_while_xl_works_leaves_no_domain(
    dom0: Dom0, kernel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(dom0, f"kill -INT {os.getpid()}; sleep 0.3\n", "after")
    with pytest.raises(KeyboardInterrupt):
        made(dom0, kernel)
    assert dom0.calls()[-1] == f"destroy {DOMID}"


def test_a_paused_domain_of_somebody_else_s_is_found_by_name_and_number(dom0: Dom0) -> None:
    dom0.domain(HVM | PAUSED)
    for name in ("mine", str(DOMID)):
        with attach(name, dom0.root, dom0.libraries) as domain:
            assert (domain.domid, domain.name) == (DOMID, "mine")


@pytest.mark.parametrize(
    ("flags", "kind", "found"),
    [
        (PAUSED, "pv", "of type pv"),
        (HVM | PAUSED, "hvm", "of type hvm"),
        (HVM, "pvh", "runs already"),
        (HVM | SHUTDOWN, "pvh", "domain mine is powered off"),
        (HVM | 1, "pvh", "domain mine is gone"),
    ],
)
def test_another_kind_of_domain_is_refused(dom0: Dom0, flags: int, kind: str, found: str) -> None:
    dom0.domain(flags, kind)
    with pytest.raises(UsageError, match=found) as told:
        attach("mine", dom0.root, dom0.libraries)
    assert told.value.way_out


def test_a_console_that_is_no_terminal_is_told(dom0: Dom0, kernel: Path) -> None:
    with made(dom0, kernel) as domain:
        at = dom0.root / "store/local/domain" / str(DOMID) / "console/tty"
        at.write_text("/dev/null")
        with pytest.raises(MachineError, match="/dev/null, the console of domain 7: expected a terminal"):
            domain.console()


def test_a_domain_that_runs_is_taken_over_when_that_is_meant(dom0: Dom0) -> None:
    dom0.domain(HVM)
    attach("mine", dom0.root, dom0.libraries, fresh=False).close()


def test_a_domain_that_has_ended_while_nobody_looked_is_taken_over_to_its_end(dom0: Dom0) -> None:
    dom0.domain(HVM | SHUTDOWN)
    with attach("mine", dom0.root, dom0.libraries, fresh=False) as domain:
        assert domain.end() is DomainEnd.POWERED_OFF
    dom0.flags(HVM | 1)
    with pytest.raises(UsageError, match="gone"):
        attach("mine", dom0.root, dom0.libraries, fresh=False)


@pytest.mark.parametrize("name", ["nobody", "12"])
def test_a_domain_that_is_not_there_is_told(dom0: Dom0, name: str) -> None:
    with pytest.raises(UsageError, match=f"there is no domain {name}"):
        attach(name, dom0.root, dom0.libraries)


def open_files() -> set[str]:
    """Return what this process has open that is pvefi's: terminals, and private files."""
    names = set()
    for one in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            names.add(f"{one.name} {one.readlink()}")
    return {name for name in names if "pts" in name or "pvefi-" in name}


def test_nothing_stays_open(dom0: Dom0, kernel: Path) -> None:
    before = open_files()
    domain = made(dom0, kernel)
    domain.console()
    assert open_files() > before
    domain.close()
    assert open_files() == before


def test_a_domain_can_be_ended_by_its_uuid_alone(dom0: Dom0, kernel: Path) -> None:
    config = DomainConfig(kernel, "guest")
    with create_paused(config, dom0.root, dom0.libraries) as domain:
        destroy_by_uuid("00000000-0000-4000-8000-000000000000", dom0.root)
        assert domain.end() is None
        destroy_by_uuid(config.uuid, dom0.root)
        assert domain.end() is DomainEnd.GONE
