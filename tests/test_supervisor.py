# SPDX-License-Identifier: GPL-2.0-or-later
"""A supervisor starts another worker for one that dies, and else is as if it were not there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pvefi import supervisor

SECONDS = 60
BEGIN = """
import json, os, signal, sys, time
from pathlib import Path
from pvefi.supervisor import die_with, supervise, supervisor_of
base = Path(sys.argv[1])
own = supervisor_of()
if not own:
    supervise(str(base))
die_with(own)
(base / "7").mkdir(exist_ok=True)
with (base / "workers").open("a") as file:
    file.write(f"{os.getpid()}\\n")
turn = len((base / "workers").read_text().split())
def serves():
    (base / "7" / "supervisor").write_text(json.dumps(own))
def done():
    (base / "7" / "supervisor").unlink()
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a program that becomes its own supervisor, and then is `body`."""
    running = []

    def started(body: str, *words: str) -> subprocess.Popen[str]:
        program = tmp_path / "program.py"
        program.write_text(BEGIN + body)
        child = subprocess.Popen(
            [sys.executable, program, tmp_path, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(child)
        return child

    yield started
    for child in running:
        child.kill()
        child.communicate()


def end(child: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = child.communicate(timeout=SECONDS)
    return child.returncode, out, err


def workers(tmp_path: Path) -> list[int]:
    return [int(pid) for pid in (tmp_path / "workers").read_text().split()]


def until(holds: Callable[[], bool]) -> None:
    limit = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < limit
        time.sleep(0.01)


Start = Callable[..., subprocess.Popen[str]]


def test_streams_words_and_status_are_the_worker_s(start: Start) -> None:
    child = start("print(sys.argv[2], input()); print('told', file=sys.stderr); sys.exit(9)", "a word")
    out, err = child.communicate("typed\n", timeout=SECONDS)
    assert (child.returncode, out, err) == (9, "a word typed\n", "told\n")


@pytest.mark.parametrize(
    ("death", "how"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "was killed by SIGKILL"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "was killed by SIGSEGV"),
        ("sys.exit(70)", "ended with status 70"),
    ],
)
def test_another_worker_goes_on_for_one_that_died(start: Start, tmp_path: Path, death: str, how: str) -> None:
    body = f"serves()\nif turn < 3:\n    {death}\nprint('went on'); done(); sys.exit(5)"
    status, out, err = end(start(body))
    assert (status, out) == (5, "went on\n")
    assert err.splitlines() == [f"pvefi: domain 7: the process that served it {how}; another one goes on"] * 2
    assert len(set(workers(tmp_path))) == 3


def test_a_worker_that_served_nobody_is_not_started_again(start: Start, tmp_path: Path) -> None:
    status, _, err = end(start("sys.exit(70)"))
    assert (status, err, len(workers(tmp_path))) == (70, "", 1)
    status, _, _ = end(start("os.kill(os.getpid(), signal.SIGKILL)"))
    assert status == -signal.SIGKILL


def test_a_worker_that_ends_in_order_is_not_started_again(start: Start, tmp_path: Path) -> None:
    status, _, err = end(start("serves(); sys.exit(3)"))
    assert (status, err, len(workers(tmp_path))) == (3, "", 1)


def test_workers_that_die_again_and_again_are_not_started_for_ever(start: Start, tmp_path: Path) -> None:
    status, _, err = end(start("serves(); os.kill(os.getpid(), signal.SIGKILL)"))
    assert (status, len(workers(tmp_path))) == (3, 5)
    last = err.splitlines()[-1]
    assert last.startswith("pvefi: domain 7: expected a process that serves it, found 5 that died")
    assert "xl destroy" in last


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_what_the_supervisor_is_told_goes_on_to_the_worker(
    start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    body = f"""
signal.signal({int(number)}, lambda *_: (print("told", flush=True), os._exit(43)))
serves()
(base / "up").touch()
time.sleep({SECONDS})
"""
    child = start(body)
    until((tmp_path / "up").exists)
    child.send_signal(number)
    status, out, err = end(child)
    assert (status, out, err, len(workers(tmp_path))) == (43, "told\n", "", 1)


def test_a_worker_that_a_signal_to_the_supervisor_ends_takes_it_along(start: Start, tmp_path: Path) -> None:
    child = start(f"serves()\n(base / 'up').touch()\ntime.sleep({SECONDS})")
    until((tmp_path / "up").exists)
    child.terminate()
    assert end(child)[0] == -signal.SIGTERM
    assert len(workers(tmp_path)) == 1


def test_a_worker_does_not_outlive_its_supervisor(start: Start, tmp_path: Path) -> None:
    child = start(f"serves()\n(base / 'up').touch()\ntime.sleep({SECONDS})")
    until((tmp_path / "up").exists)
    (worker,) = workers(tmp_path)
    child.kill()
    child.wait()

    def gone() -> bool:
        try:
            return Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    until(gone)


def test_the_supervisor_takes_little_memory(start: Start, tmp_path: Path) -> None:
    child = start(f"(base / 'up').touch()\ntime.sleep({SECONDS})")
    until((tmp_path / "up").exists)
    (resident,) = (
        int(line.split()[1])
        for line in Path(f"/proc/{child.pid}/status").read_text().splitlines()
        if line.startswith("VmRSS:")
    )
    assert resident < 16 << 10  # KiB


def test_its_process_number_is_the_one_that_the_user_started(start: Start, tmp_path: Path) -> None:
    status, out, _ = end(child := start("print(own)"))
    assert (status, int(out.partition("-")[0])) == (0, child.pid)
    assert workers(tmp_path)[0] != child.pid


def test_a_process_that_nobody_watches_over_has_no_supervisor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(supervisor.WORKER_OF, raising=False)
    assert supervisor.supervisor_of() == ""
    for told in (str(os.getppid()), f"{os.getppid()}-1", supervisor.identity_of(os.getpid()), "x"):
        monkeypatch.setenv(supervisor.WORKER_OF, told)
        assert supervisor.supervisor_of() == ""
    monkeypatch.setenv(supervisor.WORKER_OF, supervisor.identity_of(os.getppid()))
    assert supervisor.supervisor_of() == supervisor.identity_of(os.getppid())


def test_what_an_earlier_process_of_the_same_number_served_is_not_gone_on_with(
    start: Start, tmp_path: Path
) -> None:
    earlier = """
number, _, began = own.partition("-")
(base / "7" / "supervisor").write_text(json.dumps(f"{number}-{int(began) - 1}"))
os.kill(os.getpid(), signal.SIGKILL)
"""
    status, _, _ = end(start(earlier))
    assert (status, len(workers(tmp_path))) == (-signal.SIGKILL, 1)


def test_a_process_is_told_from_others_of_its_number() -> None:
    mine = supervisor.identity_of(os.getpid())
    assert mine.partition("-")[0] == str(os.getpid())
    assert mine.partition("-")[2].isdigit()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    its = supervisor.identity_of(child.pid)
    assert int(its.partition("-")[2]) > int(mine.partition("-")[2])
    child.communicate()
    assert supervisor.identity_of(child.pid) == ""
