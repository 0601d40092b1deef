# SPDX-License-Identifier: GPL-2.0-or-later
"""What one process leaves in a directory is whole, private, and one process's at a time."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
from pathlib import Path

import pytest

from pvefi.errors import MachineError, UsageError
from pvefi.state_directory import StateDirectory


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    return StateDirectory.open(tmp_path / "a" / "guest", "guest 1")


def test_what_was_saved_is_loaded(state: StateDirectory) -> None:
    assert state.load("efi") is None
    state.save("efi", {"a": [1, "\ud800"]})
    assert state.load("efi") == {"a": [1, "\ud800"]}
    state.remove("efi")
    state.remove("efi")
    assert state.load("efi") is None


def test_nobody_else_can_read_it(state: StateDirectory) -> None:
    state.save("efi", 1)
    assert stat.S_IMODE(state.path.stat().st_mode) == 0o700
    assert stat.S_IMODE((state.path / "efi").stat().st_mode) == 0o600


def test_a_writer_that_dies_leaves_what_was_there_before(state: StateDirectory) -> None:
    state.save("efi", "before")

    class Deadly(dict[str, str]):
        def items(self):  # type: ignore[no-untyped-def]
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if not child:
        state.save("efi", {"much": "x" * 100_000, "then": Deadly(a="b")})
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert state.load("efi") == "before"
    state.save("efi", "after")
    assert state.load("efi") == "after"


def test_only_one_at_a_time_holds_it(state: StateDirectory) -> None:
    with pytest.raises(UsageError, match="guest 1: expected one that nobody serves, found it served"):
        StateDirectory.open(state.path, "guest 1")
    state.close()
    StateDirectory.open(state.path, "guest 1").close()


def test_it_is_free_as_soon_as_its_process_has_died(tmp_path: Path) -> None:
    child = os.fork()
    if not child:
        StateDirectory.open(tmp_path / "guest", "guest 1")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    StateDirectory.open(tmp_path / "guest", "guest 1").close()


def test_a_directory_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "guest").mkdir(mode=0o755)
    (tmp_path / "guest").chmod(0o755)
    with pytest.raises(UsageError, match="nobody else can enter"):
        StateDirectory.open(tmp_path / "guest", "guest 1")


def test_a_link_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "guest").symlink_to(tmp_path / "real")
    with pytest.raises(UsageError, match="expected a directory"):
        StateDirectory.open(tmp_path / "guest", "guest 1")


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_refused_in_one_line(state: StateDirectory, data: bytes) -> None:
    (state.path / "efi").write_bytes(data)
    with pytest.raises(UsageError, match="expected what pvefi has saved"):
        state.load("efi")


def test_discarded_it_is_gone(state: StateDirectory) -> None:
    state.save("efi", 1)
    state.discard()
    assert not state.path.exists()


def test_who_waited_at_the_door_of_a_directory_that_is_discarded_gets_a_new_one(
    state: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock
    discarded: list[bool] = []

    def late(descriptor: int, how: int) -> None:
        if not discarded:
            discarded.append(True)
            state.discard()
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    entered = StateDirectory.open(state.path, "guest 1")
    monkeypatch.undo()
    entered.save("efi", 1)
    assert (state.path / "efi").exists()
    with pytest.raises(UsageError, match="found it served by another pvefi"):
        StateDirectory.open(state.path, "guest 1")


def test_no_room_for_what_is_to_be_kept_is_one_line(state: StateDirectory) -> None:
    (state.path / "efi.new").mkdir()
    with pytest.raises(MachineError, match="efi: expected room for what is to be kept, found"):
        state.save("efi", 1)
