# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pvefi.errors import MachineError
from pvefi.machines.qemu.qmp import Qmp, QmpEvent
from tests.conftest import Tool
from tests.machines.qemu.started import StartedQemu, started_qemu

MONITOR = ("-machine", "none", "-mon", "chardev=monitor,mode=control")


@pytest.fixture
def idle_qemu(tool: Tool) -> Iterator[StartedQemu]:
    with started_qemu(tool("qemu-system-x86_64"), *MONITOR, chardevs=("monitor",)) as started:
        yield started


def monitor(qemu: StartedQemu) -> Qmp:
    return Qmp(qemu.ends["monitor"])


def readable(qmp: Qmp, seconds: float) -> bool:
    return bool(select.select([qmp], [], [], seconds)[0])


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("pvefi-qmp")]


def events(qmp: Qmp, name: str) -> list[QmpEvent]:
    """Wait for an event called `name`, and return all until then."""
    found: list[QmpEvent] = []
    while not any(event.name == name for event in found):
        assert readable(qmp, 10), found
        found += qmp.events()
    return found


def test_a_command_is_answered_with_what_qemu_returns(idle_qemu: StartedQemu) -> None:
    with closing(monitor(idle_qemu)) as qmp:
        status = qmp.execute("query-status")
        assert isinstance(status, dict)
        assert status["status"] == "running"
        assert qmp.execute("qom-get", {"path": "/machine", "property": "type"}) == "none-machine"


def test_a_command_that_qemu_refuses_is_a_machine_error_with_its_words(idle_qemu: StartedQemu) -> None:
    with closing(monitor(idle_qemu)) as qmp:
        with pytest.raises(MachineError, match="QEMU refuses device_del: Device 'none' not found"):
            qmp.execute("device_del", {"id": "none"})
        assert not qmp.ended


def test_an_event_wakes_the_one_who_polls(idle_qemu: StartedQemu) -> None:
    with closing(monitor(idle_qemu)) as qmp:
        qmp.execute("stop")
        (stopped,) = events(qmp, "STOP")
        assert stopped.data == {}
        assert abs(stopped.seconds - time.time()) < 60
        assert qmp.events() == ()
        assert not readable(qmp, 0)
        qmp.execute("cont")
        assert [event.name for event in events(qmp, "RESUME")] == ["RESUME"]


def test_the_last_events_are_there_when_the_connection_has_ended(idle_qemu: StartedQemu) -> None:
    with closing(monitor(idle_qemu)) as qmp:
        qmp.execute("quit")
        found = events(qmp, "SHUTDOWN")
        assert found[-1].data == {"guest": False, "reason": "host-qmp-quit"}
        while not qmp.ended:
            assert readable(qmp, 10)
            qmp.events()
        assert qmp.events() == ()


def test_the_end_of_qemu_wakes_the_one_who_polls_and_every_command_fails(idle_qemu: StartedQemu) -> None:
    with closing(monitor(idle_qemu)) as qmp:
        qmp.execute("query-status")
        idle_qemu.process.kill()
        assert readable(qmp, 10)
        with pytest.raises(MachineError, match="ended its monitor connection"):
            qmp.execute("query-status")
        assert qmp.ended


def test_a_qemu_that_ends_before_it_says_anything_fails_the_first_command() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with closing(Qmp(ours)) as qmp:
        with pytest.raises(MachineError, match="ended its monitor connection"):
            qmp.execute("query-status")
        assert readable(qmp, 10)
        assert qmp.ended


@pytest.mark.parametrize("said", [b"hello\r\n", b'{"QMP": 1}\r\n', b"\xff\r\n", b"{}\r\n"])
def test_what_is_no_monitor_is_refused(said: bytes) -> None:
    ours, theirs = socket.socketpair()
    with theirs, closing(Qmp(ours)) as qmp:
        theirs.sendall(said)
        with pytest.raises(MachineError, match="ended its monitor connection"):
            qmp.execute("query-status")


def test_a_command_to_a_blocked_qemu_times_out_and_later_ones_are_answered(idle_qemu: StartedQemu) -> None:
    with closing(monitor(idle_qemu)) as qmp:
        qmp.execute("query-status")
        idle_qemu.freeze()
        began = time.monotonic()
        with pytest.raises(MachineError, match=r"answer to query-status within 0\.2 s"):
            qmp.execute("query-status", timeout=0.2)
        assert time.monotonic() - began < 5
        idle_qemu.thaw()
        assert qmp.execute("query-name") == {}


@pytest.mark.parametrize("reached", [True, False], ids=["connected", "not yet connected"])
def test_close_waits_for_no_blocked_qemu_and_leaves_nothing(idle_qemu: StartedQemu, reached: bool) -> None:
    if not reached:
        idle_qemu.freeze()
    before = len(list(Path("/proc/self/fd").iterdir()))
    qmp = monitor(idle_qemu)
    if reached:
        qmp.execute("query-status")
        idle_qemu.freeze()
    began = time.monotonic()
    qmp.close()
    qmp.close()
    assert time.monotonic() - began < 3
    assert threads() == []
    assert len(list(Path("/proc/self/fd").iterdir())) == before - 1, "the monitor's socket is closed too"
    assert qmp.events() == ()
    with pytest.raises(MachineError, match="ended its monitor connection"):
        qmp.execute("query-status")


def test_ctrl_c_ends_a_wait_for_an_answer_and_close_still_leaves_nothing(idle_qemu: StartedQemu) -> None:
    qmp = monitor(idle_qemu)
    qmp.execute("query-status")
    idle_qemu.freeze()
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        qmp.execute("query-status", timeout=30)
    timer.join()
    qmp.close()
    assert threads() == []


def test_nothing_is_written_to_the_terminal(
    idle_qemu: StartedQemu, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with closing(monitor(idle_qemu)) as qmp:
        qmp.execute("query-status")
        idle_qemu.freeze()
        with pytest.raises(MachineError):
            qmp.execute("query-status", timeout=0.1)
        idle_qemu.thaw()  # the answer that nobody waits for any more is one more chance to complain
        qmp.execute("query-status")
        idle_qemu.process.kill()
        assert readable(qmp, 10)
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.name.startswith("qemu")] == []


def test_importing_the_module_loads_neither_asyncio_nor_the_library() -> None:
    code = "import sys, pvefi.machines.qemu.qmp; print({'asyncio', 'qemu.qmp'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
