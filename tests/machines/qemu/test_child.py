# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that are run for an answer: what they write, how they end, and that nothing of them is left."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pvefi.errors import MachineError
from pvefi.machines.qemu.child import Ended, child, run


def gone(process_id: int) -> bool:
    """Whether a process has ended, waited for or not."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_the_answer_has_all_output_and_the_status() -> None:
    assert run(["/bin/sh", "-c", "echo one; echo two >&2; exit 3"], 5) == Ended(3, "one\ntwo\n")


def test_a_program_that_hangs_is_ended_with_all_that_it_has_started(tmp_path: Path) -> None:
    started = time.monotonic()
    ended = run(["/bin/sh", "-c", f"sleep 60 & echo $! >{tmp_path}/id; wait"], 0.3)
    assert time.monotonic() - started < 5
    assert ended.status is None
    assert ended.problem == "it did not end in time"
    assert gone(int((tmp_path / "id").read_text()))


def test_a_program_that_closes_its_output_and_hangs_is_ended_too() -> None:
    started = time.monotonic()
    assert run(["/bin/sh", "-c", "exec sleep 60 >&- 2>&-"], 0.3).status is None
    assert time.monotonic() - started < 5


def test_a_program_that_writes_without_end_is_ended() -> None:
    started = time.monotonic()
    ended = run(["/bin/sh", "-c", "while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy; done"], 0.5)
    assert time.monotonic() - started < 5
    assert ended.status is None
    assert len(ended.output) <= 2 << 20


def test_a_crash_names_the_signal() -> None:
    assert run(["/bin/sh", "-c", "kill -SEGV $$"], 5).problem == "it was ended by SIGSEGV"


def test_the_problem_is_the_program_s_first_error_without_its_name() -> None:
    said = "qemu: warning: dull\nqemu-system-x86_64: unsupported machine type\nUse -machine help\n"
    assert Ended(1, said).problem == "unsupported machine type"
    assert Ended(1, "").problem == "it ended with status 1"
    assert Ended(0, said).problem == ""


def test_a_program_that_is_none_is_a_machine_error(tmp_path: Path) -> None:
    program = tmp_path / "text"
    program.write_text("no program\n")
    program.chmod(0o755)
    with pytest.raises(MachineError, match=r"text cannot be run: Exec format error"):
        run([str(program)], 5)


def test_an_error_in_pvefi_ends_the_child() -> None:
    with pytest.raises(KeyboardInterrupt), child(["sleep", "60"]) as process:
        raise KeyboardInterrupt
    assert gone(process.pid)


def test_a_child_has_only_the_descriptors_that_it_is_given() -> None:
    read, write = os.pipe()
    try:
        os.set_inheritable(write, True)
        listed = run(["/bin/sh", "-c", "ls /proc/self/fd | wc -w"], 5)
        assert int(listed.output) <= 4  # 0 to 2, and the one that ls reads the folder by
    finally:
        os.close(read)
        os.close(write)
