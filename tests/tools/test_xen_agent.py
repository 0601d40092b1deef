# SPDX-License-Identifier: GPL-2.0-or-later
"""What tools/xen_image.py puts into the dom0, run on this host: the agent, and the loaded pvefi."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dom0.agent
from dom0.agent import Agent

ROOT = Path(__file__).resolve().parents[2]


class Asking:
    """The other side of the agent's port."""

    def __init__(self, port: socket.socket) -> None:
        self._file = port.makefile("rwb")

    def send(self, identity: int, do: str, **what: Any) -> None:
        asked = {"id": identity, "do": do, "seconds": 30, "environment": {}, **what}
        self._file.write(json.dumps(asked).encode() + b"\n")
        self._file.flush()

    def answer(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self._file.readline())
        return told


@pytest.fixture
def asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asking]:
    monkeypatch.setattr(dom0.agent, "FOLDER", tmp_path)
    ours, theirs = socket.socketpair()
    serving = threading.Thread(target=Agent(theirs.fileno()).serve)
    serving.start()
    yield Asking(ours)
    ours.shutdown(socket.SHUT_RDWR)
    serving.join()
    theirs.close()
    ours.close()


def test_a_job_is_answered_at_its_end_with_all_that_it_wrote(asking: Asking) -> None:
    given = base64.b64encode(b"given").decode()
    asking.send(1, "start", command="cat; echo $NAME >&2; exit 3", input=given, environment={"NAME": "x"})
    told = asking.answer()
    assert (told["id"], told["status"], told["expired"]) == (1, 3, False)
    assert base64.b64decode(told["stdout"]) == b"given"
    assert base64.b64decode(told["stderr"]) == b"x\n"


def test_a_job_s_time_ends_with_all_that_it_started(asking: Asking) -> None:
    asking.send(1, "start", command="sleep 100 & echo $!; wait", seconds=3)
    told = asking.answer()
    assert (told["status"], told["expired"]) == (-9, True)
    child = int(base64.b64decode(told["stdout"]))
    state = Path(f"/proc/{child}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"


def test_jobs_run_beside_each_other_and_take_signals(asking: Asking) -> None:
    asking.send(1, "start", command=["sleep", "100"])
    asking.send(2, "start", command=["echo", "two words", "and a third"])
    told = asking.answer()
    assert (told["id"], base64.b64decode(told["stdout"])) == (2, b"two words and a third\n")
    asking.send(3, "output", job=2)
    assert base64.b64decode(asking.answer()["stdout"]) == b"two words and a third\n"
    asking.send(4, "signal", job=1, number=15)
    answers = {told["id"]: told for told in (asking.answer(), asking.answer())}
    assert answers[1]["status"] == -15
    assert set(answers) == {1, 4}


def test_what_cannot_be_done_is_an_answer_too(asking: Asking) -> None:
    asking.send(1, "start", command=["/nonexistent"])
    assert asking.answer()["error"].startswith("FileNotFoundError: ")
    asking.send(2, "signal", job=77, number=9)
    assert asking.answer() == {"id": 2, "error": "KeyError: 77"}
    asking.send(3, "start", command=["--version"], preloaded=True)
    assert asking.answer()["error"] == "ValueError: pvefi is not loaded"


def test_a_python_that_has_pvefi_loaded_becomes_the_command(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    program = [sys.executable, str(ROOT / "tools/dom0/preloaded.py")]
    with ours, theirs, subprocess.Popen(program, stdin=theirs.fileno(), cwd=tmp_path) as server:
        theirs.close()
        assert ours.recv(100) == b"{}"
        output = tmp_path / "output"
        for number, words in ((7, ["--version"]), (8, ["boot"])):
            with output.open("wb") as stream:
                message = json.dumps({"id": number, "words": words, "environment": {}}).encode()
                socket.send_fds(ours, [message], [stream.fileno()] * 3)
            started, ended = json.loads(ours.recv(1000)), json.loads(ours.recv(1000))
            assert started["pid"] != server.pid
            assert ended == {"id": number, "status": 0 if number == 7 else 2}
            assert output.read_text().startswith("pvefi 0." if number == 7 else "pvefi: expected an image")
        ours.shutdown(socket.SHUT_RDWR)
        assert server.wait(30) == 0
