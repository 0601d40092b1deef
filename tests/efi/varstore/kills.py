# SPDX-License-Identifier: GPL-2.0-or-later
"""Writers of a store that are killed at random moments, and what is left of what they told to last."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from pvefi.efi.varstore.edk2 import Edk2Store, empty_store
from pvefi.efi.varstore.medium import FileMedium
from pvefi.errors import PvefiError
from pvefi.spec.edk2.ovmf import OVMF_2M, StoreLayout
from tests.efi.varstore.flash import SMALL, held, variable

__all__ = ["CROWDED", "ROOMY", "Killed", "Writing", "kill_writers"]

_NAMES = ("One", "Two")
_DELAY = 0.004
"""Seconds after a writer's first lasting change in which it is killed: a change takes a part of that."""


@dataclass(frozen=True)
class Writing:
    """A store's layout and the sizes of the values, in 64-bit words, between which they change."""

    layout: StoreLayout
    least: int
    spread: int

    def value(self, number: int) -> bytes:
        """Return the value that has this number."""
        return number.to_bytes(8, "little") * (self.least + number % self.spread)


ROOMY = Writing(OVMF_2M, 40, 900)
"""OVMF's store of 2 MiB, in which now and then all is cleared away."""
CROWDED = Writing(SMALL, 30, 9)
"""A store in which nearly every change clears all away, by a fault tolerant write."""


@dataclass(frozen=True)
class Killed:
    """How many writers were killed, and how many amid a change, which has lasted but was not yet told.

    How many changes, told to last, were lost; how many stores were unsound.

    A store is unsound that does not open, lacks a variable, or holds a value that nobody wrote.
    """

    writers: int
    changes: int
    lost: int
    corrupt: int
    amid: int


def _write_until_killed(path: Path, writing: Writing, number: int, told: int) -> NoReturn:
    """Change the variables again and again, and tell each number that lasts."""
    try:
        store = Edk2Store(FileMedium(path), (writing.layout,))
        while True:
            number += 1
            for name in _NAMES:
                store.put(variable(name, writing.value(number)))
            os.write(told, b"%d\n" % number)
    finally:
        os._exit(1)


def kill_writers(
    path: Path, writing: Writing, rounds: int, say: Callable[[int], None] = lambda _: None
) -> Killed:
    """Kill `rounds` writers of the store in `path` one after the other, and look at what each has left."""
    path.write_bytes(empty_store(writing.layout))
    number = changes = lost = corrupt = amid = 0
    dice = random.Random(rounds)
    for done in range(rounds):
        say(done)
        reading, telling = os.pipe()
        writer = os.fork()
        if not writer:
            _write_until_killed(path, writing, number, telling)
        os.close(telling)
        with os.fdopen(reading, "rb") as told:
            first = told.readline()
            time.sleep(dice.random() * _DELAY)
            os.kill(writer, signal.SIGKILL)
            if os.WTERMSIG(os.waitpid(writer, 0)[1]) != signal.SIGKILL:
                raise RuntimeError("a writer has ended before it was killed")
            numbers = [int(line) for line in (first + told.read()).splitlines()]
        changes += len(_NAMES) * len(numbers)
        found = _numbers_in(path, writing)
        if found is None:
            corrupt += 1
            path.write_bytes(empty_store(writing.layout))
            continue
        lost += sum(one < numbers[-1] for one in found)
        corrupt += sum(one > numbers[-1] + 1 for one in found)
        amid += any(one > numbers[-1] for one in found)
        number = max(number, *found)
    return Killed(rounds, changes, lost, corrupt, amid)


def _numbers_in(path: Path, writing: Writing) -> Sequence[int] | None:
    """Return the numbers of the values in a store, None where it is unsound."""
    try:
        with Edk2Store(FileMedium(path, writable=False), (writing.layout,)) as store:
            contents = held(store)
    except PvefiError:
        return None
    numbers = [int.from_bytes(contents[name][:8], "little") for name in _NAMES if name in contents]
    if set(contents) != set(_NAMES) or any(
        contents[name] != writing.value(number) for name, number in zip(_NAMES, numbers, strict=True)
    ):
        return None
    return numbers
