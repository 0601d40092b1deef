# SPDX-License-Identifier: GPL-2.0-or-later
"""What the machine makes of a domain that another process has left."""

from __future__ import annotations

from typing import Self

import pytest

from pvefi.guest import load_trampoline
from pvefi.guest.mailbox import Finish
from pvefi.machines import Finished, Hardware
from pvefi.machines.xen import machine
from pvefi.machines.xen.held import HeldDomain
from pvefi.machines.xen.machine import XenMachine
from pvefi.machines.xen.options import XenOptions
from pvefi.machines.xen.xl_config import DomainConfig
from tests.machines.xen.made import RAM_SIZE, FakeDomain, FakeLibraries, FakeXen, bed


class FoundDomain(FakeDomain):
    """A domain as `attach` finds it."""

    paused = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@pytest.mark.parametrize(("seq", "runs"), [(0, True), (1, False)], ids=["never ran", "paused by its user"])
def test_a_domain_left_paused_before_its_first_doorbell_is_let_run(
    monkeypatch: pytest.MonkeyPatch, seq: int, runs: bool
) -> None:
    trampoline = load_trampoline()
    xen = FakeXen()
    bed(xen).domain.close()
    identity = next(iter(xen.servers))
    xen.bound.clear()
    if seq:
        xen.ring(0, trampoline=trampoline, seq=seq, done=seq - 1)
    domain = FoundDomain(xen)
    monkeypatch.setattr(machine, "attach", lambda *_, **__: domain)
    monkeypatch.setattr(machine, "Libraries", lambda: FakeLibraries(xen))
    monkeypatch.setattr(machine, "_most", lambda *_: RAM_SIZE)
    hardware = Hardware(memory_size=RAM_SIZE, command_line="", seed=None, count=False, watched=False)
    held = HeldDomain(xen.domid, domain.name, "its-uuid", identity)
    guest = XenMachine(XenOptions(), held=held).start(trampoline, hardware, lambda _: None)
    try:
        if not seq:
            xen.ring(0, trampoline=trampoline)
        assert guest.run(lambda _: Finish("enough"), 20) == Finished("enough")
        assert domain.running is runs
    finally:
        guest.close()


def test_a_domain_is_noted_before_it_is_made_and_held_before_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    xen = FakeXen()
    domain = FakeDomain(xen)
    told: list[str] = []

    def create(config: DomainConfig) -> FakeDomain:
        told.append(f"made {config.uuid}")
        return domain

    def hold(held: HeldDomain | None) -> None:
        assert not domain.running
        if held is not None:
            told.append(f"held {held.uuid}")

    monkeypatch.setattr(machine, "create_paused", create)
    monkeypatch.setattr(machine, "Libraries", lambda: FakeLibraries(xen))
    monkeypatch.setattr(machine, "_most", lambda *_: RAM_SIZE)
    hardware = Hardware(memory_size=RAM_SIZE, command_line="", seed=None, count=False, watched=False)
    one = XenMachine(XenOptions(), hold=hold, making=lambda uuid: told.append(f"making {uuid}"))
    one.start(load_trampoline(), hardware, lambda _: None).close()
    whats, uuids = zip(*(line.split() for line in told), strict=True)
    assert whats == ("making", "made", "held")
    assert len(set(uuids)) == 1
