# SPDX-License-Identifier: GPL-2.0-or-later
"""The counter's native code, and hosts that cannot run it."""

from __future__ import annotations

import ctypes
import mmap
import platform
from typing import NoReturn

import pytest

from pvefi.errors import MachineError
from pvefi.machines.embedded.counting import InstructionCounter

CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_void_p)


def test_every_call_counts_one() -> None:
    counter = InstructionCounter()
    assert counter.callback.value is not None
    count = CALLBACK(counter.callback.value)
    for _ in range(1000):
        count(None, 0x1000, 4, counter.user_data)
    assert counter.value == 1000


def test_counters_are_apart() -> None:
    one, other = InstructionCounter(), InstructionCounter()
    assert one.callback.value is not None
    CALLBACK(one.callback.value)(None, 0, 1, one.user_data)
    assert (one.value, other.value) == (1, 0)


def test_another_kind_of_host_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(MachineError, match=r"expects an x86-64 host, found aarch64 \(leave --count out\)"):
        InstructionCounter()


def test_a_host_that_refuses_executable_memory_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_options: object) -> NoReturn:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(mmap, "mmap", refuse)
    with pytest.raises(MachineError, match="the host refuses it: Operation not permitted"):
        InstructionCounter()
