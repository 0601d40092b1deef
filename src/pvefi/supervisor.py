# SPDX-License-Identifier: GPL-2.0-or-later
"""A small process that starts another one for each that dies while it serves guests.

The process that the user starts becomes the supervisor: it replaces itself by this file alone, run by a bare
Python, and starts the same command once more as its worker. So the supervisor keeps the process number, the
terminal and the exit status that the user knows, and little memory. A vCPU that has rung waits in Xen until
somebody answers: a dead worker's successor takes over what was asked (`efi/heir.py`).

Nothing of pvefi is imported here, and of the standard library only what is there anyway.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

__all__ = ["die_with", "identity_of", "supervise", "supervisor_of"]

WORKER_OF = "PVEFI_WORKER_OF"
"""The environment variable that tells a worker the identity of its supervisor."""
OWNER = "supervisor"
"""The file in a guest's directory with the identity of the supervisor whose worker serves it."""

_DEATHS, _WITHIN = 5, 60.0
"""A worker that dies so often in so many seconds is not started again."""
_BUG, _NO_MACHINE = 70, 3  # pvefi.cli.status.ExitStatus
_START_TIME = 22 - 3  # proc(5), /proc/PID/stat: fields are counted from 1, and two stand before the ")"
_PR_SET_PDEATHSIG = 1  # Linux include/uapi/linux/prctl.h
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
_SI_KERNEL = 0x80  # Linux include/uapi/asm-generic/siginfo.h: from a terminal, which tells the worker too


def identity_of(process: int) -> str:
    """Return what tells a process from all others since the host's start, its number used again or not.

    That is its number and when it started, which stays as it is when it becomes another program; empty for
    one that is not there.
    """
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123  no pathlib here
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return ""
    return f"{process}-{fields[_START_TIME]}"


def supervisor_of() -> str:
    """Return the identity of this worker's supervisor, empty for a process that is no worker."""
    told = os.environ.get(WORKER_OF, "")
    return told if told and told == identity_of(os.getppid()) else ""


def supervise(base: str) -> None:
    """Become the supervisor of this same command, and never return; `base` holds the guests' directories.

    Nothing may have been read, written or started by then.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    own = [sys.executable, "-S", "-P", "-E", __file__, base, "--"]
    os.execv(sys.executable, [*own, sys.executable, *sys.orig_argv[1:]])  # noqa: S606  own words, no shell


def die_with(supervisor: str) -> None:
    """Have this process killed when its supervisor dies: two must never serve one guest.

    What it served waits for whoever takes it over: `pvefi serve`.
    """
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if identity_of(os.getppid()) != supervisor:  # it died before that
        os.kill(os.getpid(), signal.SIGKILL)


def _serves(base: str) -> list[str]:
    """Return the guests that a worker of this process has left behind."""
    found = []
    own = identity_of(os.getpid())
    try:
        names = sorted(os.listdir(base))  # noqa: PTH208  no pathlib here
    except OSError:
        return []
    for name in names:
        if name.startswith("."):  # one that is being taken away
            continue
        try:
            with open(os.path.join(base, name, OWNER), encoding="ascii") as file:  # noqa: PTH118, PTH123  nor here
                if file.read(80).strip('"') == own:  # JSON
                    found.append(name)
        except OSError:
            continue
    return found


def _start(command: list[str]) -> int:
    environment = {**os.environ, WORKER_OF: identity_of(os.getpid())}
    return os.posix_spawn(command[0], command, environment, setsigmask=())


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"pvefi: {text}\n".encode())


def _terminal() -> list[object] | None:
    """Return how the terminal is set, for workers that die without putting it back."""
    if not os.isatty(0):
        return None
    import termios

    return termios.tcgetattr(0)


def _put_back(settings: list[object] | None) -> None:
    if settings is not None:
        import termios

        termios.tcsetattr(0, termios.TCSANOW, settings)  # type: ignore[arg-type]  # what tcgetattr returned


def _ends(worker: int) -> int | None:
    """Return the worker's exit code when it has ended, below 0 for a signal; None while it lives."""
    pid, status = os.waitpid(worker, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if pid else None


def _wait(worker: int, told: set[int]) -> int:
    """Return how the worker ended; what this process is told goes on to it, and into `told`."""
    waited = {signal.SIGCHLD, *_FORWARDED}
    while (code := _ends(worker)) is None:
        info = signal.sigwaitinfo(waited)
        if info.si_signo in _FORWARDED:
            told.add(info.si_signo)
            if info.si_code != _SI_KERNEL:
                os.kill(worker, info.si_signo)
    return code


def _how(code: int) -> str:
    if code >= 0:
        return f"ended with status {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _end_as(code: int) -> int:
    """Return the exit status of a worker that ended with `code`, or end by its signal."""
    if code >= 0:
        return code
    if -code not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(-code, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [-code])
    os.kill(os.getpid(), -code)
    return 128 - code


def main(arguments: list[str]) -> int:
    """Run the command behind `BASE --` until it ends in order, or dies too often."""
    base, _, *command = arguments
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, *_FORWARDED})
    settings = _terminal()
    deaths: list[float] = []
    told: set[int] = set()
    while True:
        code = _wait(_start(command), told)
        died = (code < 0 and -code not in told) or code == _BUG
        guests = _serves(base) if died else []
        if not guests:
            return _end_as(code)
        _put_back(settings)
        now = time.monotonic()
        deaths = [*(one for one in deaths if now - one < _WITHIN), now]
        whom = "domain " + ", ".join(guests)
        if len(deaths) >= _DEATHS:
            _say(
                f"{whom}: expected a process that serves it, found {len(deaths)} that died within "
                f"{_WITHIN:.0f} s: the last {_how(code)} (pvefi serve takes it over, xl destroy ends it)"
            )
            return _NO_MACHINE
        _say(f"{whom}: the process that served it {_how(code)}; another one goes on")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
