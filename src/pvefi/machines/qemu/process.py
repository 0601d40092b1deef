# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU process and the descriptors that it shares with pvefi; it ends when pvefi ends, however that is."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

from pvefi.errors import MachineError
from pvefi.machines.host_memory import map_ram
from pvefi.machines.qemu.command import Descriptors
from pvefi.machines.qemu.console import PipedConsole
from pvefi.machines.readiness import is_ready
from pvefi.machines.serial_port import Console

__all__ = ["QemuProcess", "Shared", "dies_with_parent", "start_process"]

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_REFUSED = 1
"""QEMU's exit status for options that it does not take, and for what they name."""
_PATIENCE = 2.0
"""Seconds that QEMU has to end by itself before it is killed."""


@dataclass(frozen=True)
class Shared:
    """pvefi's ends of what a QEMU process inherits; `ram` is all of the guest's RAM, as QEMU's file has it.

    `ram_file` is that file, a descriptor of pvefi's own.

    `log` holds what QEMU notes of CPU resets. The debugger's end and the two doorbells are None where there
    are none.
    """

    ram: memoryview
    ram_file: int
    console: Console
    monitor: socket.socket
    log: IO[bytes]
    doorbell: socket.socket | None
    blocking: socket.socket | None
    debugger: socket.socket | None

    def close(self) -> None:
        """Let go of everything; the memory is unmapped when its other views have been released, too."""
        self.ram.release()
        for end in (self.console, self.monitor, self.doorbell, self.blocking, self.debugger, self.log):
            if end is not None:
                end.close()
        os.close(self.ram_file)


class QemuProcess:
    """The child; `pidfd` is readable once it has ended."""

    def __init__(self, child: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
        self._child = child
        self._errors = errors
        self.pidfd = os.pidfd_open(child.pid)

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return not self.wait(0)

    def wait(self, seconds: float) -> bool:
        """Wait at most `seconds` for the process to end; whether it has ended."""
        return is_ready(self.pidfd, seconds)

    def last_words(self) -> str:
        """Return how the process ended, when it was not the guest that had it end."""
        said = next(iter(self._said()), "")
        return self.ended() or f"QEMU ended without having run a guest{said and f': {said}'}"

    def ended(self) -> str | None:
        """Return how the process ended, in words, empty for status 0; None while it runs."""
        status = self._child.poll()
        if status is None:
            return None
        if status == 0:
            return ""
        said = self.complaint()
        if status < 0:
            with contextlib.suppress(ValueError):
                return f"QEMU was ended by {signal.Signals(-status).name}{said and f': {said}'}"
        return f"QEMU ended with status {status}{said and f': {said}'}"

    def refused(self) -> bool:
        """Whether QEMU has ended with a complaint of its own, as it does about its options."""
        return self._child.poll() == _REFUSED

    def complaint(self) -> str:
        """Return the last line that QEMU wrote to its standard error."""
        lines = self._said()
        return lines[-1].removeprefix("qemu-system-x86_64: ") if lines else ""

    def _said(self) -> list[str]:
        self._errors.seek(0)
        return self._errors.read().decode("utf-8", "replace").strip().splitlines()

    def close(self) -> None:
        """End the process."""
        if self._child.poll() is None:
            self._child.terminate()
            try:
                self._child.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self._kill()
            except BaseException:
                self._kill()
                self._release()
                raise
        self._release()

    def _kill(self) -> None:
        self._child.kill()
        self._child.wait()

    def leave(self) -> None:
        """Let the process live on, without a parent that looks after it."""
        self._child.returncode = 0  # it is nobody's business any more, not even the garbage collector's
        self._release()

    def _release(self) -> None:
        os.close(self.pidfd)
        self._errors.close()


def start_process(
    memory_size: int,
    kernel: bytes,
    variables: bytes,
    command: Callable[[Descriptors], list[str]],
    *,
    doorbell: bool = True,
    blocking: bool = False,
    debugger: bool = False,
    outlives: bool = False,
) -> tuple[QemuProcess, Shared]:
    """Start what `command` says with the descriptors that it is given.

    `kernel` and `variables` are the bytes of the files behind the Descriptors of these names. With `outlives`
    the process survives pvefi. With `blocking` there is the second doorbell, and nothing but the two lets the
    guest wait for pvefi.
    QEMU dies with the thread that started it (prctl(2), PR_SET_PDEATHSIG), unless it outlives pvefi.
    MachineError when the program cannot be run, UsageError when the host has not so much memory. Then nothing
    that was opened for it is left.
    """
    with contextlib.ExitStack() as stack, contextlib.ExitStack() as kept:
        ram = _memory_file("pvefi-ram", stack)
        mapping = kept.enter_context(map_ram(ram, memory_size))
        image = _memory_file("pvefi-kernel", stack, kernel)
        store = _memory_file("pvefi-variables", stack, variables)
        log = kept.enter_context(os.fdopen(os.memfd_create("qemu-log", os.MFD_CLOEXEC), "rb", buffering=0))

        def pair(wanted: bool = True) -> tuple[socket.socket | None, int | None]:
            if not wanted:
                return None, None
            ours, theirs = socket.socketpair()
            kept.enter_context(ours)
            stack.enter_context(theirs)
            return ours, theirs.fileno()

        errors = kept.enter_context(tempfile.TemporaryFile())
        console: Console | None
        console_fd, standard_input, standard_output = None, subprocess.DEVNULL, errors.fileno()
        if blocking:
            console = piped = PipedConsole()
            kept.callback(piped.close)
            standard_output, standard_input = piped.theirs
            stack.callback(os.close, standard_output)
            stack.callback(os.close, standard_input)
        else:
            console, console_fd = pair()
        monitor, monitor_fd = pair()
        bell, bell_fd = pair(doorbell)
        block, block_fd = pair(blocking)
        gdb, gdb_fd = pair(debugger)
        assert console is not None
        assert monitor is not None
        assert monitor_fd is not None
        if block_fd is not None:
            _fill(block_fd)
        descriptors = Descriptors(
            ram, image, store, console_fd, monitor_fd, log.fileno(), bell_fd, block_fd, gdb_fd
        )
        ram_file = os.dup(ram)
        kept.callback(os.close, ram_file)
        shared = Shared(mapping, ram_file, console, monitor, log, bell, block, gdb)
        given = [ram, image, store, log.fileno(), console_fd, monitor_fd, bell_fd, block_fd, gdb_fd]
        words = command(descriptors)
        try:
            child = subprocess.Popen(
                words,
                stdin=standard_input,
                stdout=standard_output,
                stderr=errors,
                pass_fds=[number for number in given if number is not None],
                # What is called in the child between fork and exec takes no lock that a thread could hold.
                preexec_fn=None if outlives else dies_with_parent(),  # noqa: PLW1509
                start_new_session=True,
            )
        except OSError as error:
            raise MachineError(
                f"{words[0]} cannot be run: {error.strerror}", "pvefi doctor tells what to install"
            ) from error
        process = QemuProcess(child, errors)
        kept.pop_all()
        return process, shared


def _memory_file(name: str, stack: contextlib.ExitStack, data: bytes = b"") -> int:
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    stack.callback(os.close, descriptor)
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(data)
    return descriptor


def _fill(descriptor: int) -> None:
    """Fill a socket's way out, so that the next byte waits until the other end has taken one."""
    end = socket.socket(fileno=os.dup(descriptor))
    with end:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        end.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                end.send(b"\0")
        end.setblocking(True)


def dies_with_parent() -> Callable[[], None]:
    """Return what makes a child die with the thread that starts it, to be called in it before exec."""
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def arrange() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before this was arranged
            os._exit(1)

    return arrange
