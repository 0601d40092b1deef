# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes that this one forks: bounded in time, gone when their parent is, and none left behind."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import math
import os
import resource
import signal
from collections.abc import Iterator

__all__ = [
    "adopting",
    "begin_group",
    "bound",
    "die_with",
    "end_group",
    "leave_signals",
    "signal_name",
    "undisturbed",
]

_HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# Linux include/uapi/linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PR_GET_CHILD_SUBREAPER = 37


def _prctl(option: int, argument: object) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, argument, 0, 0, 0)


@contextlib.contextmanager
def adopting() -> Iterator[None]:
    """Be the parent of processes whose own has died, within: they can be waited for then."""
    before = ctypes.c_int(0)
    _prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(before))
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        _prctl(_PR_SET_CHILD_SUBREAPER, before.value)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Let no signal that has a handler strike within; what strikes a process just forked is its parent's."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin_group(process: int) -> None:
    """Make `process`, just forked, the first of a group of its own; 0 is this one. Both sides call it."""
    with contextlib.suppress(OSError):  # it may have ended
        os.setpgid(process, process)


def leave_signals() -> None:
    """Have signals end this process, forked in `undisturbed`, as they end any other.

    Ctrl-C is not among them: it is its parent's to handle. A crash says nothing: who waits for it tells.
    """
    faulthandler.disable()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)


def die_with(parent: int) -> None:
    """Have this process killed when `parent`, which has forked it, dies."""
    _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:  # it died before that
        os.kill(os.getpid(), signal.SIGKILL)


def bound(cpu_seconds: float, seconds: float) -> None:
    """End this process by SIGXCPU after so much CPU time from its start, by SIGALRM after so much time."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    wanted = max(1, math.ceil(cpu_seconds))
    if most == resource.RLIM_INFINITY or wanted < most:
        resource.setrlimit(resource.RLIMIT_CPU, (wanted, most))
    signal.setitimer(signal.ITIMER_REAL, seconds)


def end_group(group: int) -> None:
    """Kill what is left of a group that `begin_group` began, and wait for all of it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-group, 0)


def signal_name(number: int) -> str:
    """Return SIGSEGV for 11; a number that has no name as it is."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
