# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that xl starts by itself: its console, its end, and what is left of it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pvefi.errors import MachineError, UsageError
from pvefi.guest.mailbox import Answer, Request
from pvefi.machines import (
    Crashed,
    Died,
    Finished,
    ForeignBoot,
    ForeignWay,
    Hardware,
    PoweredOff,
    Restarted,
    Stop,
    TimedOut,
)
from pvefi.machines.xen import foreign
from pvefi.machines.xen.domain import create_paused
from pvefi.machines.xen.foreign import ForeignXenGuest, start_foreign
from pvefi.machines.xen.options import XenOptions
from tests.machines.xen.dom0 import DOMID, HVM, SHUTDOWN, Dom0

PATIENCE = 20.0
MIB = 1 << 20


@pytest.fixture
def heard() -> bytearray:
    """What the guest has written."""
    return bytearray()


Start = Callable[..., ForeignXenGuest]


@pytest.fixture
def start(dom0: Dom0, heard: bytearray, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Give a function that starts a guest, which is closed at the end."""
    guests: list[ForeignXenGuest] = []
    monkeypatch.setattr(
        foreign, "create_paused", lambda config, root: create_paused(config, root, dom0.libraries)
    )

    def started(way: ForeignWay = ForeignWay.XEN_PVH, *, restarts: bool = True) -> ForeignXenGuest:
        boot = ForeignBoot(way, b"the kernel", Path("/i"), "quiet")
        hardware = Hardware(64 * MIB, restarts=restarts)
        guest = start_foreign(XenOptions(root=dom0.root), boot, hardware, heard.extend)
        guests.append(guest)
        return guest

    yield started
    for guest in guests:
        guest.close()


def nobody(request: Request) -> Answer:
    raise AssertionError(request)


def run(guest: ForeignXenGuest, timeout: float | None = PATIENCE) -> Stop:
    return guest.run(nobody, timeout)


def later(what: Callable[[], None], until: Callable[[], bool]) -> None:
    """Do something once `until` holds."""

    def wait() -> None:
        while not until():
            time.sleep(0.01)
        what()

    threading.Thread(target=wait, daemon=True).start()


def unpaused(dom0: Dom0, times: int = 1) -> Callable[[], bool]:
    return lambda: dom0.calls().count(f"unpause {DOMID}") >= times


@pytest.mark.parametrize(("way", "kind"), [(ForeignWay.XEN_PVH, "pvh"), (ForeignWay.XEN_PV, "pv")])
def test_xl_is_given_the_kernel_and_what_goes_with_it(
    dom0: Dom0, start: Start, way: ForeignWay, kind: str
) -> None:
    start(way)
    made = (dom0.root / "made.cfg").read_text()
    assert f'type = "{kind}"\n' in made
    assert 'ramdisk = "/i"\ncmdline = "quiet"\nmemory = 64\n' in made
    assert (dom0.root / "kernel").read_bytes() == b"the kernel"


def test_a_guest_runs_only_when_it_is_run(dom0: Dom0, start: Start) -> None:
    guest = start()
    assert not unpaused(dom0)()
    assert run(guest, 0.05) == TimedOut(0.05, None)
    assert unpaused(dom0)()


@pytest.mark.parametrize(
    ("flags", "stop"),
    [
        (SHUTDOWN, PoweredOff()),
        (1 << 16 | SHUTDOWN, Restarted()),
        (3 << 16 | SHUTDOWN, Crashed),
        (4 << 16 | SHUTDOWN, Crashed),
        (2 << 16 | SHUTDOWN, Died),
        (1, Died),
    ],
)
def test_a_domain_s_end_is_the_run_s(dom0: Dom0, start: Start, flags: int, stop: Stop | type[Stop]) -> None:
    guest = start(restarts=False)
    later(lambda: dom0.flags(flags | HVM), unpaused(dom0))
    found = run(guest)
    assert found == stop or isinstance(found, stop if isinstance(stop, type) else ())
    assert run(guest) == found


def test_a_reset_makes_the_domain_anew(dom0: Dom0, start: Start) -> None:
    guest = start()
    later(lambda: dom0.flags(1 << 16 | SHUTDOWN | HVM), unpaused(dom0))
    later(lambda: dom0.flags(SHUTDOWN | HVM), unpaused(dom0, 2))
    assert run(guest) == PoweredOff()
    words = [call.split()[0] for call in dom0.calls()]
    assert words == ["create", "unpause", "destroy", "create", "unpause"]


def test_last_words_that_come_after_the_end_are_heard(dom0: Dom0, start: Start, heard: bytearray) -> None:
    guest = start()

    def end() -> None:
        dom0.flags(SHUTDOWN | HVM)
        time.sleep(0.1)
        os.write(dom0.terminal, b"reboot: Power down\n")

    later(end, unpaused(dom0))
    assert run(guest) == PoweredOff()
    assert heard.endswith(b"Power down\n")


def test_what_is_typed_reaches_the_guest(
    dom0: Dom0, heard: bytearray, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, write = os.pipe()

    class Keys:
        patient = True

        def fileno(self) -> int:
            return read

        def read(self) -> bytes | None:
            return os.read(read, 100)

    monkeypatch.setattr(
        foreign, "create_paused", lambda config, root: create_paused(config, root, dom0.libraries)
    )
    boot = ForeignBoot(ForeignWay.XEN_PV, b"k", None, "")
    guest = start_foreign(XenOptions(root=dom0.root), boot, Hardware(64 * MIB), heard.extend, Keys())
    os.write(write, b"poweroff\n")
    run(guest, 0.05)
    guest.listen()
    run(guest, 0.05)
    assert os.read(dom0.terminal, 100) == b"poweroff\n"
    guest.close()
    os.close(read)
    os.close(write)


def test_whoever_watches_the_console_may_end_the_run(dom0: Dom0, start: Start) -> None:
    guest = start()
    guest.finish("enough")
    assert run(guest) == Finished("enough")


def test_the_look_that_was_asked_for_is_taken_without_a_cpu(start: Start) -> None:
    guest = start()
    looks: list[tuple[object, ...]] = []

    def look(cpus: tuple[object, ...]) -> float:
        looks.append(cpus)
        return 0.0

    guest.run(nobody, 0.05, look)
    assert looks == []
    guest.look_soon(0.01)
    guest.run(nobody, 0.2, look)
    assert looks == [()]


def test_closing_destroys_the_domain(dom0: Dom0, start: Start) -> None:
    start().close()
    assert dom0.calls()[-1] == f"destroy {DOMID}"


def test_a_domain_without_a_console_is_not_left_behind(
    dom0: Dom0, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    (dom0.root / "tty").write_text("/dev/pts/none")
    with pytest.raises(MachineError, match="/dev/pts/none, the console of domain"):
        start()
    assert dom0.calls()[-1] == f"destroy {DOMID}"


def test_a_kernel_that_xen_cannot_load_is_the_user_s_to_change(dom0: Dom0, start: Start) -> None:
    refusal = dom0.root / "refusal"
    refusal.write_text(
        'echo "xc: error: panic: xc_dom_bzimageloader.c:751: unknown compression" >&2; exit 3\n'
    )
    refusal.chmod(0o755)
    with pytest.raises(UsageError, match=r"Xen cannot load the kernel: .*unknown compression") as told:
        start()
    assert "--entry efi" in told.value.way_out


def test_want_of_memory_is_no_fault_of_the_kernel_s(dom0: Dom0, start: Start) -> None:
    refusal = dom0.root / "refusal"
    refusal.write_text(
        'echo "libxl: error: xc_dom_boot_mem_init failed: Cannot allocate memory" >&2; exit 3\n'
    )
    refusal.chmod(0o755)
    with pytest.raises(MachineError, match="Cannot allocate memory") as told:
        start()
    assert "--memory" in told.value.way_out


@pytest.mark.parametrize("way", [ForeignWay.LINUX, ForeignWay.PVH, ForeignWay.OVMF])
def test_ways_of_qemu_s_are_refused(dom0: Dom0, start: Start, way: ForeignWay) -> None:
    with pytest.raises(UsageError, match="expected xen-pvh or xen-pv on Xen"):
        start(way)
    assert dom0.calls() == []
