# SPDX-License-Identifier: GPL-2.0-or-later
"""What is said where Xen's libraries, or rights to them, are missing; windows that show nothing."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct

import pytest

from pvefi.errors import MachineError
from pvefi.machines.xen import libraries
from pvefi.machines.xen.libraries import EventChannels, Libraries, Window


@pytest.mark.parametrize(
    ("part", "package"),
    [
        ("device_model", "libxendevicemodel1"),
        ("foreign_memory", "libxenforeignmemory1"),
        ("event_channels", "libxenevtchn1"),
    ],
)
def test_a_library_that_is_missing_is_named_with_its_package(
    part: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str, **_: object) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    with pytest.raises(MachineError, match=f"apt-get install {package}"):
        getattr(Libraries(), part)()


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.ENOENT, "expected a control domain of Xen"),
        (errno.EACCES, "no permission to open it"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_a_device_that_cannot_be_opened_says_why(number: int, text: str) -> None:
    error = libraries._refused("/dev/xen/privcmd", number)
    assert "/dev/xen/privcmd" in error.message
    assert text in error.message


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.EPERM, "Xen does not permit it"),
        (errno.ESRCH, "there is no such domain"),
        (errno.EINVAL, "type PVH or HVM"),
        (errno.EBUSY, "Device or resource busy"),
    ],
)
def test_what_xen_refuses_is_said_in_one_line(number: int, text: str) -> None:
    said = str(libraries._failed("domain 5: no ioreq server can be made", number))
    assert said.startswith("domain 5: no ioreq server can be made: ")
    assert text in said
    assert "\n" not in said


def unmapped(window: Window, offset: int, size: int) -> None:
    """Unmap a part of a window, as Xen's library does where it could not map it."""
    unmap = ctypes.CDLL(None).munmap
    unmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    assert unmap(window.address + offset, size) == 0


def test_a_hole_in_a_window_is_covered_and_views_stay() -> None:
    window = Window(8 * 4096)
    view = window.view[4096:8192]
    unmapped(window, 4096, 4096)
    window.cover(4096, 4096)
    assert bytes(view) == bytes(4096)


def test_a_hole_that_somebody_else_has_got_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ended(BaseException):
        pass

    def abort() -> None:
        raise Ended

    monkeypatch.setattr(os, "abort", abort)
    window = Window(8 * 4096)
    window.view[4096:8192] = b"x" * 4096  # as of another thread
    with pytest.raises(Ended):
        window.cover(4096, 4096)
    assert window.view[4096] == ord("x")


def test_a_window_that_was_cleared_reads_as_zeroes_and_its_views_stay() -> None:
    window = Window(8 * 4096)
    view = window.view[4096:8192]
    view[:] = b"x" * 4096
    window.clear(4096, 4096)
    assert bytes(view) == bytes(4096)


class _Descriptor(EventChannels):
    """Event channels whose driver is whoever has the other end of a socket."""

    def __init__(self, driver: socket.socket) -> None:
        self._descriptor = driver.fileno()


def test_a_port_that_is_read_is_written_back_so_that_it_can_be_heard_again() -> None:
    ours, driver = socket.socketpair()
    with ours, driver:
        driver.sendall(struct.pack("=II", 70_000, 3))
        channels = _Descriptor(ours)
        assert (channels.pending(), channels.pending()) == (70_000, 3)
        assert struct.unpack("=II", driver.recv(64)) == (70_000, 3)


def test_event_channels_that_cannot_be_read_say_so() -> None:
    ours, driver = socket.socketpair()
    ours.setblocking(False)
    with ours, driver, pytest.raises(MachineError, match="the event channels cannot be read"):
        _Descriptor(ours).pending()
