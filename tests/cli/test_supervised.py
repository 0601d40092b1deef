# SPDX-License-Identifier: GPL-2.0-or-later
"""A worker ends what the one before was about to make, once the xl that it had started has ended."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pvefi.cli import supervised
from pvefi.held_guest import HeldGuest
from pvefi.machines.embedded import EmbeddedMachine
from pvefi.machines.xen.held import HeldDomain
from pvefi.prepare import BootOptions
from pvefi.supervisor import WORKER_OF

SUPERVISOR = "4711-9"
UUID = "8d3c2b1a-0000-4000-8000-000000000000"


@pytest.fixture
def ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Leave the note of a worker that has died; return the domains that are ended."""
    options = BootOptions(Path("/boot/vmlinuz"), EmbeddedMachine())
    child = os.fork()
    if not child:
        HeldGuest(tmp_path, SUPERVISOR, options, passing=None, owned=True).making(UUID)
        os._exit(0)
    os.waitpid(child, 0)
    found: list[str] = []
    monkeypatch.setattr(supervised, "BASE", tmp_path)
    monkeypatch.setattr(supervised, "destroy_by_uuid", found.append)
    return found


@pytest.fixture
def xl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[bytes]]:
    """A process by the name of xl, as a worker starts it; it ends when its input does."""
    program = tmp_path_factory.mktemp("bin") / "xl"
    shutil.copy(shutil.which("cat") or "/bin/cat", program)
    with subprocess.Popen(
        [program], stdin=subprocess.PIPE, env={WORKER_OF: SUPERVISOR}, start_new_session=True
    ) as process:
        while not Path(f"/proc/{process.pid}/environ").read_bytes():  # just after exec there is none yet
            time.sleep(0.01)
        yield process
        process.kill()


def test_what_was_about_to_be_made_is_ended_and_forgotten(ended: list[str], tmp_path: Path) -> None:
    assert not supervised._tidied("4711-8", None)
    assert ended == []
    assert supervised._tidied(SUPERVISOR, None)
    assert ended == [UUID]
    assert list(tmp_path.iterdir()) == []
    assert not supervised._tidied(SUPERVISOR, None)


def test_what_is_held_is_not_ended(ended: list[str], tmp_path: Path) -> None:
    assert supervised._tidied(SUPERVISOR, HeldDomain(7, "web", UUID, 3))
    assert ended == []
    assert list(tmp_path.iterdir()) == []


def test_an_xl_of_this_supervisor_s_is_known_by_its_environment(xl: subprocess.Popen[bytes]) -> None:
    assert supervised._xl_runs(SUPERVISOR)
    assert not supervised._xl_runs("4711-8")
    xl.communicate()
    assert not supervised._xl_runs(SUPERVISOR)


def test_other_processes_are_no_xl() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={WORKER_OF: SUPERVISOR}
    ) as process:
        assert not supervised._xl_runs(SUPERVISOR)
        process.communicate(b"x\n")


def test_xl_is_waited_for(
    ended: list[str], xl: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = []

    def sleep(_: float) -> None:
        assert ended == []
        waited.append(xl.communicate())

    monkeypatch.setattr("pvefi.cli.supervised.time.sleep", sleep)
    assert supervised._tidied(SUPERVISOR, None)
    assert (len(waited), ended) == (1, [UUID])
