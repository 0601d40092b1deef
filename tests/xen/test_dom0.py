# SPDX-License-Identifier: GPL-2.0-or-later
"""The dom0 that these tests run in: it is real, its jobs end as they say, and it leaves nothing behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.leftovers import MARK, assert_all_gone, nothing_left, qemu_of
from tests.xen.conftest import Dom0s
from xen_bed import resume
from xen_jobs import Dom0
from xen_machine import Dom0Error

TOOLS = Path(__file__).resolve().parents[2] / "tools"


def test_xen_runs_it_and_has_svm_for_its_guests(dom0: Dom0) -> None:
    told = dict(re.findall(r"^(\w+) *: (.*)$", dom0.done("xl info"), re.MULTILINE))
    assert told["xen_version"].startswith("4.17.")
    assert "hvm" in told["virt_caps"].split()
    assert dom0.done("cat /sys/hypervisor/type") == "xen\n"
    assert "control_d" in dom0.done("cat /proc/xen/capabilities")


def test_jobs_tell_status_output_errors_and_signals(dom0: Dom0) -> None:
    end = dom0.run("cat; echo wrong >&2; exit 7", given=b"\0\xff given")
    assert (end.status, end.stdout, end.errors) == (7, b"\0\xff given", "wrong\n")
    assert dom0.run(["sh", "-c", "kill -9 $$"]).status == -9
    assert dom0.run('echo "$GIVEN"', environment={"GIVEN": "a  b"}).text == "a  b\n"


def test_jobs_run_at_once_and_are_seen_while_they_run(dom0: Dom0) -> None:
    dom0.done("mkfifo /run/fifo")
    waiting = dom0.start("read -r line </run/fifo; echo $line", seconds=60)
    job = dom0.start("exec sleep 1000")
    assert not waiting.ended
    dom0.done("echo on >/run/fifo")
    assert waiting.wait().text == "on\n"
    job.signal(15)
    assert job.wait().status == -15


def test_a_job_that_hangs_is_killed_with_all_that_it_started(dom0: Dom0) -> None:
    end = dom0.start("sleep 1001 & echo $!; wait", seconds=5).wait()
    assert end.expired
    assert end.status == -9
    assert dom0.run(f"kill -0 {int(end.text)}").status != 0
    with pytest.raises(Dom0Error, match="expected an end within 1 s"):
        dom0.run("sleep 1002", seconds=1)


def test_the_pvefi_of_this_tree_runs_there_without_unicorn(dom0: Dom0) -> None:
    assert dom0.done("pvefi --version").startswith("pvefi")
    assert dom0.run(["python3", "-c", "import unicorn"]).status == 1
    program = "import sys; sys.path[:0] = ['/opt']; import pvefi; print(pvefi.__file__)"
    assert dom0.done(["python3", "-c", program]) == "/opt/pvefi/__init__.pyc\n"


@pytest.fixture
def available(dom0s: Dom0s) -> None:
    """Need a dom0 that can be had, though not this one."""
    dom0s.take()
    dom0s.drop()


@pytest.mark.full
@pytest.mark.usefixtures("available")
def test_nothing_is_left_of_one_that_was_closed() -> None:
    resume().close()  # whatever is imported once is there now
    with nothing_left():
        resume().close()


@pytest.mark.usefixtures("available")
def test_a_process_that_is_killed_takes_its_dom0_along(tmp_path: Path) -> None:
    mark = str(tmp_path)
    program = "import xen_bed, signal; xen_bed.resume(); print('up', flush=True); signal.pause()"
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=TOOLS,
        env=os.environ | {MARK: mark},
        stdout=subprocess.PIPE,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        assert qemu_of(mark) is not None
        child.kill()
    assert_all_gone(mark, within=30)
