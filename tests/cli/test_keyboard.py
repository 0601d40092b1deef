# SPDX-License-Identifier: GPL-2.0-or-later
"""The user's terminal while a guest has it: raw, and restored whatever happens."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pvefi.cli.terminal import HINT, Terminal
from pvefi.machines.machine import Keyboard

GUEST = """
import select, sys
from pvefi.cli.signals import Terminated, terminable
from pvefi.cli.terminal import Terminal
try:
    with terminable(), Terminal() as terminal:
        print("ready", terminal.interactive, flush=True)
        while True:
            select.select([terminal.fileno()], [], [])
            keys = terminal.read()
            print("got", keys, flush=True)
            if keys == b"!":
                raise RuntimeError("a bug")
            if not keys:
                break
except Terminated as end:
    print("ended by", end)
except RuntimeError as error:
    print("raised", error)
print("left", flush=True)
sys.stdin.readline()
"""


class Person:
    """Somebody at a terminal of which a process of ours is in the foreground."""

    def __init__(self, process: int, terminal: int) -> None:
        self.process, self.terminal, self.seen = process, terminal, b""

    def type(self, keys: bytes) -> None:
        os.write(self.terminal, keys)

    def sees(self, text: bytes) -> bytes:
        """Wait for `text`, and return what came before it."""
        deadline = time.monotonic() + 20
        while text not in self.seen:
            assert select.select([self.terminal], [], [], max(0, deadline - time.monotonic()))[0], self.seen
            self.seen += os.read(self.terminal, 4096)
        before, _, self.seen = self.seen.partition(text)
        return before

    def modes(self) -> tuple[int, int, int]:
        """Return the input, output and local modes of the terminal."""
        mode = termios.tcgetattr(self.terminal)
        return mode[0], mode[1], mode[3]

    def is_raw(self) -> bool:
        return not self.modes()[2] & (termios.ICANON | termios.ECHO | termios.ISIG)

    def waits_for(self, *, raw: bool) -> None:
        deadline = time.monotonic() + 20
        while self.is_raw() is not raw:
            assert time.monotonic() < deadline
            time.sleep(0.01)


@contextmanager
def at_terminal(code: str) -> Iterator[Person]:
    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.executable, [sys.executable, "-c", code])
    try:
        yield Person(process, terminal)
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.close(terminal)


@pytest.fixture
def person() -> Iterator[Person]:
    with at_terminal(GUEST) as somebody:
        yield somebody


def test_every_key_goes_to_the_guest_until_ctrl_and_bracket(person: Person) -> None:
    before = person.modes()
    person.sees(HINT.encode())
    person.sees(b"ready True\r\n")
    assert person.is_raw()
    assert person.modes()[1] == before[1], "what is written looks as ever"
    for key, told in ((b"\x03", rb"\x03"), (b"\x1a", rb"\x1a"), (b"\r", rb"\r"), (b"\x13", rb"\x13")):
        person.type(key)
        person.sees(b"got b'" + told + b"'")
    person.type(b"\xc3\xa9\x1b[A")
    person.sees(rb"got b'\xc3\xa9\x1b[A'")
    person.type(b"\x1d")
    person.sees(b"got None")
    person.sees(b"left")
    assert person.modes() == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_the_process_restores_the_terminal(person: Person, number: signal.Signals) -> None:
    before = person.modes()
    person.sees(b"ready")
    os.kill(person.process, number)
    person.sees(f"ended by {number.name}".encode())
    person.sees(b"left")
    assert person.modes() == before


def test_an_exception_restores_the_terminal(person: Person) -> None:
    before = person.modes()
    person.sees(b"ready")
    person.type(b"!")
    person.sees(b"raised a bug")
    person.sees(b"left")
    assert person.modes() == before


def test_a_stopped_process_gives_the_terminal_back_until_it_goes_on(person: Person) -> None:
    before = person.modes()
    person.sees(b"ready")
    # A process without a parent in its session cannot be stopped by SIGTSTP (POSIX, orphaned process groups):
    # it goes on at once, with the terminal raw again.
    for _ in range(2):
        os.kill(person.process, signal.SIGTSTP)
        person.waits_for(raw=True)
        person.type(b"a")
        person.sees(b"got b'a'")
    os.kill(person.process, signal.SIGSTOP)
    os.waitpid(person.process, os.WUNTRACED)
    mode = termios.tcgetattr(person.terminal)
    mode[3] |= termios.ECHO | termios.ICANON | termios.ISIG  # as a shell does, whose job has stopped
    termios.tcsetattr(person.terminal, termios.TCSANOW, mode)
    os.kill(person.process, signal.SIGCONT)
    person.waits_for(raw=True)
    person.type(b"\x1d")
    person.sees(b"left")
    assert person.modes() == before


def test_a_terminal_is_what_a_machine_takes_for_a_keyboard() -> None:
    keyboard: Keyboard = Terminal()
    assert keyboard.fileno() == 0


def test_what_is_piped_in_goes_to_the_guest_and_its_end_is_told() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"poweroff\n\x1d")
    os.close(writing)
    with Terminal(source=reading) as terminal:
        assert not terminal.interactive
        assert terminal.fileno() == reading
        assert terminal.read() == b"poweroff\n\x1d"
        assert terminal.read() == b""
        assert not terminal.reads
        assert terminal.read() == b""
    os.close(reading)


def test_a_terminal_whose_output_goes_elsewhere_is_not_read() -> None:
    leader, follower = pty.openpty()
    before = termios.tcgetattr(follower)
    reading, writing = os.pipe()
    with Terminal(source=follower, screen=writing) as terminal:
        assert not terminal.interactive
        assert not terminal.reads
        assert termios.tcgetattr(follower) == before
    for descriptor in (leader, follower, reading, writing):
        os.close(descriptor)


def test_a_terminal_that_goes_is_the_end_of_the_keys() -> None:
    leader, follower = pty.openpty()
    with Terminal(source=follower, screen=follower) as terminal:
        assert terminal.interactive
        os.close(leader)
        assert terminal.read() == b""
    os.close(follower)


LIVE = """
import time
from pvefi.cli.guest_console import GuestConsole
with GuestConsole(to_stderr=False, interactive=True) as console:
    console.stage("starting the machine")
    time.sleep(0.5)
    console.write("login: ")
    print("<quiet from here>", flush=True)
    console.stage("never shown")
    time.sleep(0.5)
    console.write("typed\\r\\n")
print("done", flush=True)
time.sleep(9)
"""


def test_progress_is_shown_until_an_interactive_guest_writes_its_first_character() -> None:
    with at_terminal(LIVE) as person:
        person.sees(b"starting the machine")
        person.sees(b"login: <quiet from here>\r\n")
        assert person.sees(b"typed\r\r\ndone") == b"", "no line of progress any more"
