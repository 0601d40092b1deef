# SPDX-License-Identifier: GPL-2.0-or-later
"""What `pvefi serve` leaves of a domain when serving it has failed, and how it shuts a domain down."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pvefi import serve
from pvefi.boot import Observer
from pvefi.efi.profiles import PROFILES
from pvefi.errors import MachineError, UsageError
from pvefi.held_guest import HeldGuest, fresh_variables
from pvefi.machines.xen.ends import DomainEnd
from pvefi.machines.xen.held import HeldDomain
from pvefi.prepare import BootOptions
from pvefi.spec.xen.domctl import Shutdown

UUID = "8d3c2b1a-0000-4000-8000-000000000000"
HELD = HeldDomain(7, "web", UUID, 3)


class FoundDomain:
    """A domain that lives, or has ended as `how` says."""

    domid, name = 7, "web"

    def __init__(self, how: DomainEnd | None = None, *, paused: bool = True) -> None:
        self.how = how
        self.paused = paused

    def end(self) -> DomainEnd | None:
        return self.how

    def close(self) -> None:
        pass


def wish(base: Path) -> serve.ServeWish:
    profile = PROFILES["linux"]
    return serve.ServeWish(Path("/boot/vmlinuz"), None, "", profile, None, False, base, "4711-9", "Xen")


def observer() -> Observer:
    return Observer(console=lambda _: None, call=lambda _: None, stage=lambda _: None, notice=lambda _: None)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have a domain found, and `boot` do what is given instead of booting."""

    def arrange(domain: FoundDomain, boot: Callable[[Any], None]) -> None:
        def booted(prepared: Any, *_: object) -> None:
            boot(prepared.machine)

        monkeypatch.setattr(serve, "attach", lambda _, fresh: domain)
        monkeypatch.setattr(serve, "facts_of", lambda _: (UUID, 256 << 20))
        monkeypatch.setattr(serve, "prepare", lambda options: options)
        monkeypatch.setattr(serve, "boot", booted)

    return arrange


def held_before(base: Path) -> None:
    """Leave what another process would have left."""
    options = BootOptions(Path("/boot/vmlinuz"), SimpleNamespace())
    before = HeldGuest(base, "", options, passing=fresh_variables(base, "domain-x"), owned=False)
    before.hold(HELD)
    before.leave()


def fails_after_hold(machine: Any) -> None:
    machine.hold(HELD)
    raise MachineError("Xen refuses")


def fails_at_once(machine: Any) -> None:
    raise MachineError("Xen refuses")


def test_a_domain_whose_server_has_gone_is_not_noted_any_more(
    tmp_path: Path, found: Callable[..., None]
) -> None:
    held_before(tmp_path)
    found(FoundDomain(paused=False), fails_after_hold)
    with pytest.raises(MachineError, match="Xen refuses"):
        serve.serve("web", wish(tmp_path), observer(), lambda _: None)
    assert list(tmp_path.iterdir()) == []


def test_a_domain_that_could_not_be_taken_over_can_be_still(
    tmp_path: Path, found: Callable[..., None]
) -> None:
    held_before(tmp_path)
    found(FoundDomain(paused=False), fails_at_once)
    for _ in range(2):
        with pytest.raises(MachineError, match="Xen refuses"):
            serve.serve("web", wish(tmp_path), observer(), lambda _: None)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["7", "variables-domain-x"]


@pytest.mark.parametrize("fails", [fails_at_once, fails_after_hold])
def test_of_a_domain_that_could_not_be_served_nothing_is_left(
    tmp_path: Path, found: Callable[..., None], fails: Callable[[Any], None]
) -> None:
    found(FoundDomain(), fails)
    with pytest.raises(MachineError, match="Xen refuses"):
        serve.serve("web", wish(tmp_path), observer(), lambda _: None)
    assert list(tmp_path.iterdir()) == []


def test_a_domain_that_runs_and_was_never_served_is_refused(
    tmp_path: Path, found: Callable[..., None]
) -> None:
    found(FoundDomain(paused=False), fails_at_once)
    with pytest.raises(UsageError, match="found one that runs"):
        serve.serve("web", wish(tmp_path), observer(), lambda _: None)
    assert list(tmp_path.iterdir()) == []


def test_a_domain_that_has_ended_and_was_never_served_is_refused_as_such(
    tmp_path: Path, found: Callable[..., None]
) -> None:
    found(FoundDomain(DomainEnd.CRASHED), fails_at_once)
    with pytest.raises(UsageError, match="domain web is crashed: expected one that has not run yet"):
        serve.serve("web", wish(tmp_path), observer(), lambda _: None)
    assert list(tmp_path.iterdir()) == []


def refusing_to_shut_down() -> SimpleNamespace:
    def shut_down(domid: int, reason: int) -> None:
        raise MachineError(f"domain {domid}: it cannot be shut down: No such process")

    return SimpleNamespace(device_model=lambda: SimpleNamespace(shut_down=shut_down))


def test_a_domain_that_ends_by_itself_meanwhile_is_not_shut_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "Libraries", refusing_to_shut_down)
    serve._shut_down(FoundDomain(DomainEnd.GONE), Shutdown.POWEROFF)  # type: ignore[arg-type]
    with pytest.raises(MachineError, match="cannot be shut down"):
        serve._shut_down(FoundDomain(), Shutdown.POWEROFF)  # type: ignore[arg-type]
