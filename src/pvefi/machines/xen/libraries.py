# SPDX-License-Identifier: GPL-2.0-or-later
"""Xen's libraries for device models, by ctypes: typed functions, and errors in one line.

Sources: tools/include/xendevicemodel.h, xenforeignmemory.h, xenevtchn.h, xencall.h and xentoollog.h of Xen
4.17. What tests put in the place of `Libraries` has its methods.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import sys
from collections.abc import Callable, Sequence
from ctypes import POINTER, byref, c_int, c_size_t, c_uint, c_ulong, c_void_p

from pvefi.errors import MachineError
from pvefi.spec.xen.ioreq import HVM_IOREQSRV_BUFIOREQ_OFF, MAX_NR_IOREQ_SERVERS, XEN_DMOP_IO_RANGE_PORT

__all__ = [
    "LIBRARIES",
    "PAGE_SIZE",
    "Calls",
    "DeviceModel",
    "EventChannels",
    "ForeignMemory",
    "Libraries",
    "Window",
    "load_library",
]

PAGE_SIZE = 4096

_PACKAGES = {
    "libxentoollog.so.1": "libxentoollog1",
    "libxendevicemodel.so.1": "libxendevicemodel1",
    "libxenforeignmemory.so.1": "libxenforeignmemory1",
    "libxenevtchn.so.1": "libxenevtchn1",
    "libxencall.so.1": "libxencall1",
}
"""Each library's package in Debian."""
LIBRARIES = tuple(_PACKAGES)
_DEVICES = {
    "libxendevicemodel.so.1": "/dev/xen/privcmd",
    "libxenforeignmemory.so.1": "/dev/xen/privcmd",
    "libxenevtchn.so.1": "/dev/xen/evtchn",
    "libxencall.so.1": "/dev/xen/privcmd",
}
_XTL_CRITICAL = 9  # tools/include/xentoollog.h: what the libraries may say by themselves, which is nothing
_MAP_NORESERVE = 0x4000  # linux/include/uapi/asm-generic/mman-common.h; mmap has no name for it before 3.13
_READ_WRITE = mmap.PROT_READ | mmap.PROT_WRITE
_NOWHERE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
_MAP_FIXED = 0x10  # linux/include/uapi/asm-generic/mman-common.h
_MAP_FIXED_NOREPLACE = 0x100000  # the same, since Linux 4.17; before, only a hint
_FAILED = c_void_p(-1).value
_PORT_SIZE = 4

_u16, _u32, _u64 = ctypes.c_uint16, ctypes.c_uint32, ctypes.c_uint64


class Window:
    """`size` bytes of the host's addresses, in which pages of a domain are shown.

    Where none is shown, and after `clear`, it is memory of nobody's that reads as zeroes: a view of it that
    somebody still has leads nowhere else.
    """

    def __init__(self, size: int) -> None:
        self._area = mmap.mmap(-1, size, flags=_NOWHERE, prot=_READ_WRITE)
        first = ctypes.c_char.from_buffer(self._area)
        self.address = ctypes.addressof(first)
        self.size = size
        self.view = memoryview(self._area)
        self._mmap = ctypes.CDLL(None, use_errno=True).mmap
        self._mmap.restype = c_void_p
        self._mmap.argtypes = (c_void_p, c_size_t, c_int, c_int, c_int, c_ulong)

    def clear(self, offset: int, size: int) -> None:
        """Show nothing any more in `size` bytes at `offset`, both whole pages."""
        at = self.address + offset
        if self._mmap(at, size, _READ_WRITE, _NOWHERE | _MAP_FIXED, -1, 0) == _FAILED:
            raise _failed(f"{size:#x} bytes of a domain's memory are not let go of")

    def cover(self, offset: int, size: int) -> None:
        """Show nothing in `size` bytes at `offset`, where by now there is no mapping at all.

        Another thread may have been given these addresses meanwhile. Then two would see each other's memory:
        this process ends at once, and another one goes on.
        """
        at = self.address + offset
        flags = _NOWHERE | _MAP_FIXED_NOREPLACE
        if self._mmap(at, size, _READ_WRITE, flags, -1, 0) != at:
            os.abort()


class Libraries:
    """The libraries as this host has them, each loaded when it is first needed.

    Every method opens what its result holds; MachineError when the library or the right to use it is missing.
    """

    def device_model(self) -> DeviceModel:
        """Return the device model's calls into Xen."""
        return DeviceModel()

    def foreign_memory(self) -> ForeignMemory:
        """Return access to the memory of other domains."""
        return ForeignMemory()

    def event_channels(self) -> EventChannels:
        """Return a set of event channels with one descriptor."""
        return EventChannels()

    def calls(self) -> Calls:
        """Return calls into Xen that no other library has."""
        return Calls()

    def window(self, size: int) -> Window:
        """Return addresses for `size` bytes of a domain's memory."""
        return Window(size)


class _Library:
    """One library, open: `handle` is what its open function returned."""

    def __init__(self, name: str, prefix: str) -> None:
        self._library = load_library(name)
        toollog = load_library("libxentoollog.so.1")
        self._prefix = prefix
        create = toollog.xtl_createlogger_stdiostream
        create.restype, create.argtypes = c_void_p, (c_void_p, c_int, c_uint)
        self._destroy_logger = toollog.xtl_logger_destroy
        self._destroy_logger.restype, self._destroy_logger.argtypes = None, (c_void_p,)
        self._logger = create(c_void_p.in_dll(ctypes.CDLL(None), "stderr"), _XTL_CRITICAL, 0)
        self._handle = self._function("open", c_void_p, c_void_p, c_uint, handle=False)(self._logger, 0)
        if not self._handle:
            number = ctypes.get_errno()
            self._destroy_logger(self._logger)
            raise _refused(_DEVICES[name], number)

    def _function(
        self, name: str, result: type | None, *arguments: type, handle: bool = True
    ) -> Callable[..., int]:
        function = getattr(self._library, f"{self._prefix}_{name}")
        function.restype = result
        function.argtypes = (c_void_p, *arguments) if handle else arguments
        return function  # type: ignore[no-any-return]  # ctypes has no type for it

    def close(self) -> None:
        """Close it: what it has mapped stays, what it has bound ends."""
        if self._handle:
            self._function("close", c_int)(self._handle)
            self._destroy_logger(self._logger)
            self._handle = 0
            self._logger = 0


class DeviceModel(_Library):
    """libxendevicemodel: ioreq servers, which Xen keeps until they are destroyed or their domain is."""

    def __init__(self) -> None:
        super().__init__("libxendevicemodel.so.1", "xendevicemodel")
        self._create = self._function("create_ioreq_server", c_int, _u16, c_int, POINTER(_u16))
        self._map = self._function("map_io_range_to_ioreq_server", c_int, _u16, _u16, c_int, _u64, _u64)
        self._state = self._function("set_ioreq_server_state", c_int, _u16, _u16, c_int)
        self._destroy = self._function("destroy_ioreq_server", c_int, _u16, _u16)
        self._shutdown = self._function("shutdown", c_int, _u16, c_uint)

    def create_ioreq_server(self, domid: int) -> int:
        """Return the id of a new ioreq server of the domain's, without a ring for buffered requests."""
        identity = _u16()
        if self._create(self._handle, domid, HVM_IOREQSRV_BUFIOREQ_OFF, byref(identity)) < 0:
            if ctypes.get_errno() == errno.ENOSPC:
                raise MachineError(
                    f"domain {domid}: expected room for one more ioreq server, "
                    f"found {MAX_NR_IOREQ_SERVERS} of them",
                    "end other device models, or destroy the domain",
                )
            raise _failed(f"domain {domid}: no ioreq server can be made")
        return identity.value

    def map_ports(self, domid: int, identity: int, first: int, last: int) -> None:
        """Send what the domain does at I/O ports `first` to `last` to an ioreq server."""
        if self._map(self._handle, domid, identity, XEN_DMOP_IO_RANGE_PORT, first, last) < 0:
            raise _failed(f"domain {domid}: ioreq server {identity} gets no ports {first:#x} to {last:#x}")

    def set_ioreq_server_state(self, domid: int, identity: int, *, enabled: bool) -> None:
        """Have Xen ask an ioreq server, or not any more."""
        if self._state(self._handle, domid, identity, enabled) < 0:
            raise _failed(f"domain {domid}: the state of ioreq server {identity} cannot be set")

    def destroy_ioreq_server(self, domid: int, identity: int) -> None:
        """End an ioreq server; Xen wakes no vCPU that waits for it."""
        if self._destroy(self._handle, domid, identity) < 0:
            raise _failed(f"domain {domid}: ioreq server {identity} cannot be destroyed")

    def shut_down(self, domid: int, reason: int) -> None:
        """Shut the domain down for `reason`, one of SHUTDOWN_*; whoever made it does what is due then."""
        if self._shutdown(self._handle, domid, reason) < 0:
            raise _failed(f"domain {domid}: it cannot be shut down")


class ForeignMemory(_Library):
    """libxenforeignmemory: pages of other domains, shown in a Window of the host's addresses."""

    def __init__(self) -> None:
        super().__init__("libxenforeignmemory.so.1", "xenforeignmemory")
        self._map = self._function(
            "map2", c_void_p, _u32, c_void_p, c_int, c_int, c_size_t, POINTER(_u64), POINTER(c_int)
        )
        self._map_resource = self._function(
            "map_resource",
            c_void_p, _u16, c_uint, c_uint, c_ulong, c_ulong, POINTER(c_void_p), c_int, c_int,
        )  # fmt: skip
        self._unmap_resource = self._function("unmap_resource", c_int, c_void_p)
        self._resource = 0

    def show(self, window: Window, offset: int, domid: int, gfn: int, count: int) -> Sequence[int]:
        """Show `count` pages of a domain from guest frame `gfn` on; return for each 0, or why it is not.

        Those that are not there are cleared. MachineError when the domain's memory cannot be had at all.
        """
        frames = (_u64 * count)(*range(gfn, gfn + count))
        errors = (c_int * count)()
        at = window.address + offset
        shown = self._map(self._handle, domid, at, _READ_WRITE, _MAP_FIXED, count, frames, errors)
        if not shown:
            number = ctypes.get_errno()
            window.cover(offset, count * PAGE_SIZE)  # the library has unmapped what was there
            raise _failed(f"domain {domid}: its memory cannot be mapped", number)
        for index, number in enumerate(errors):
            if number:
                window.clear(offset + index * PAGE_SIZE, PAGE_SIZE)
        return list(errors)

    def map_resource(self, domid: int, kind: int, identity: int, frame: int) -> memoryview:
        """Return a page that Xen keeps for a domain, such as an ioreq server's; see `unmap_resource`."""
        address = c_void_p()
        self._resource = self._map_resource(
            self._handle, domid, kind, identity, frame, 1, byref(address), _READ_WRITE, 0
        )
        if not self._resource or address.value is None:
            raise _failed(f"domain {domid}: the page of ioreq server {identity} cannot be mapped")
        return memoryview((ctypes.c_ubyte * PAGE_SIZE).from_address(address.value)).cast("B")

    def unmap_resource(self) -> None:
        """Unmap the page; nobody may have a view of it any more."""
        if self._resource:
            self._unmap_resource(self._handle, self._resource)
            self._resource = 0


class Calls(_Library):
    """libxencall: any hypercall."""

    def __init__(self) -> None:
        super().__init__("libxencall.so.1", "xencall")
        self._allocate = self._function("alloc_buffer", c_void_p, c_size_t)
        self._free = self._function("free_buffer", None, c_void_p)
        self._call = self._library["xencall1"]
        self._call.restype, self._call.argtypes = c_int, (c_void_p, c_uint, _u64)

    def call(self, number: int, structure: bytes) -> tuple[int, bytes]:
        """Make hypercall `number` with one structure; return errno, 0 for none, and it as Xen left it."""
        place = self._allocate(self._handle, len(structure))
        if not place:
            raise _failed("there is no memory for a call to Xen")
        try:
            ctypes.memmove(place, structure, len(structure))
            number = ctypes.get_errno() if self._call(self._handle, number, place) < 0 else 0
            return number, ctypes.string_at(place, len(structure))
        finally:
            self._free(self._handle, place)


class EventChannels(_Library):
    """libxenevtchn: event channels, which end with this object or the process.

    Reading a port from its descriptor and writing it back is what the library does as `pending` and `unmask`:
    linux/drivers/xen/evtchn.c, a port is a native 4-byte number.
    """

    def __init__(self) -> None:
        super().__init__("libxenevtchn.so.1", "xenevtchn")
        self._bind = self._function("bind_interdomain", c_int, _u32, _u32)
        self._unbind = self._function("unbind", c_int, _u32)
        self._notify = self._function("notify", c_int, _u32)
        self._descriptor = int(self._function("fd", c_int)(self._handle))

    def fileno(self) -> int:
        """Return the descriptor that is readable when `pending` has something."""
        return self._descriptor

    def bind(self, domid: int, remote_port: int) -> int:
        """Return the local port that is now joined with `remote_port` of a domain."""
        port = self._bind(self._handle, domid, remote_port)
        if port < 0:
            raise _failed(f"domain {domid}: its event channel {remote_port} cannot be bound")
        return port

    def unbind(self, port: int) -> None:
        """Let go of a local port."""
        if self._unbind(self._handle, port) < 0:
            raise _failed(f"event channel {port} cannot be let go of")

    def pending(self) -> int:
        """Return the next local port that something has happened at, and let that happen again."""
        try:
            port = os.read(self._descriptor, _PORT_SIZE)
            os.write(self._descriptor, port)
        except OSError as error:
            raise _failed("the event channels cannot be read", error.errno) from error
        return int.from_bytes(port, sys.byteorder)

    def notify(self, port: int) -> None:
        """Tell the other end of a local port that something has happened."""
        if self._notify(self._handle, port) < 0:
            raise _failed(f"event channel {port} cannot be notified")


def load_library(name: str) -> ctypes.CDLL:
    """Return one of LIBRARIES; MachineError says how to get it."""
    try:
        return ctypes.CDLL(name, use_errno=True)
    except OSError as error:
        raise MachineError(
            f"expected Xen's library {name}, found none that can be loaded",
            f"apt-get install {_PACKAGES[name]}",
        ) from error


def _refused(device: str, number: int) -> MachineError:
    """Return why a device that only a control domain of Xen has cannot be opened."""
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return MachineError(
            f"{device}: expected a control domain of Xen (dom0), found a host without it",
            "run pvefi in dom0, with xen-privcmd and xen-evtchn loaded",
        )
    if number in (errno.EACCES, errno.EPERM):
        return MachineError(f"{device}: no permission to open it", "run pvefi as root")
    return MachineError(f"{device}: {os.strerror(number)}")


def _failed(what: str, number: int | None = None) -> MachineError:
    """Return what to say of a call that Xen has refused."""
    number = ctypes.get_errno() if number is None else number
    why, way_out = os.strerror(number), ""
    if number == errno.EPERM:
        why, way_out = "Xen does not permit it", "run pvefi in the domain that made it, as root"
    elif number == errno.ESRCH:
        why, way_out = "there is no such domain (any more)", "xl list"
    elif number == errno.EINVAL:
        way_out = "Xen takes this for domains of type PVH or HVM only"
    elif number == errno.ENOENT:
        why = "it is not there (any more)"
    return MachineError(f"{what}: {why}", way_out)
