# SPDX-License-Identifier: GPL-2.0-or-later
"""Asks Xen itself how a domain is, by libxencall.

Why a domain has shut down stands in no file and in no entry of xenstore, and `xl list` prints one letter of
it. The structures of libxenlight and libxenctrl change with each release, and so do the libraries' names.
What does not change is libxencall (one ABI, libxencall.so.1, since Xen 4.7), and, in all releases so far,
the first bytes that XEN_DOMCTL_getdomaininfo answers. Xen refuses a call that was made for another version
of the interface, so that a wrong answer can't be taken for a right one.
"""

from __future__ import annotations

import ctypes
import errno
import os
from dataclasses import dataclass
from typing import Self

from pvefi.errors import MachineError
from pvefi.spec.xen.domctl import (
    DOMCTL_INTERFACE_VERSIONS,
    DOMCTL_SIZE,
    GET_DOMAIN_INFO,
    HYPERCALL_DOMCTL,
    SHUTDOWN_MASK,
    SHUTDOWN_SHIFT,
    DomainFlag,
    GetDomainInfo,
    Shutdown,
)

__all__ = ["LIBRARY", "DomainState", "Hypercalls"]

LIBRARY = "libxencall.so.1"


@dataclass(frozen=True)
class DomainState:
    """What Xen says of a domain; `shutdown` is why it has shut down, None while it has not.

    A `paused` one is kept from running by a control program, such as xl. One that is `dying` is being taken
    apart, and has nothing that could be used any more.
    """

    hvm: bool
    paused: bool
    dying: bool
    shutdown: Shutdown | None


class Hypercalls:
    """An open /dev/xen/privcmd; MachineError when there is none, or no right to it."""

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL(LIBRARY, use_errno=True)
        except OSError as error:
            raise MachineError(f"{LIBRARY} cannot be loaded", "apt-get install libxencall1") from error
        opened = self._function("xencall_open", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint)
        # A logger would print to stderr; what is wrong is told by errno.
        handle: int | None = opened(None, 0)
        if not handle:
            reason = os.strerror(ctypes.get_errno())
            raise MachineError(f"/dev/xen/privcmd cannot be opened: {reason}", "run pvefi as root in dom0")
        self._handle: int | None = handle
        self._version: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def domain_state(self, domid: int) -> DomainState | None:
        """Return how a domain is, None where there is none of that number.

        MachineError when Xen has another interface than those that are known, or refuses.
        """
        for version in DOMCTL_INTERFACE_VERSIONS if self._version is None else (self._version,):
            request = GetDomainInfo(cmd=GET_DOMAIN_INFO, interface_version=version, asked_domain=domid)
            code, answer = self._call(HYPERCALL_DOMCTL, request.pack().ljust(DOMCTL_SIZE, b"\0"))
            if code == errno.EACCES:
                continue
            self._version = version
            info = GetDomainInfo.unpack(answer)
            # Before Xen 4.19 the next domain of a higher number was told of, where there was none of this.
            if code == errno.ESRCH or (code == 0 and info.domain != domid):
                return None
            if code:
                raise MachineError(f"Xen does not tell of domain {domid}: {os.strerror(code)}")
            flags = DomainFlag(info.flags & 0xFFFF)
            shut_down = Shutdown(info.flags >> SHUTDOWN_SHIFT & SHUTDOWN_MASK)
            return DomainState(
                hvm=DomainFlag.HVM_GUEST in flags,
                paused=DomainFlag.PAUSED in flags,
                dying=DomainFlag.DYING in flags,
                shutdown=shut_down if DomainFlag.SHUTDOWN in flags else None,
            )
        raise MachineError(
            "expected Xen 4.12 to 4.22, found one with another domctl interface, or one that refuses its use",
            "use a release that pvefi knows, or tell its developers",
        )

    def _call(self, number: int, structure: bytes) -> tuple[int, bytes]:
        """Make a hypercall with one structure; return errno, 0 for none, and the structure as Xen left it."""
        allocate = self._function("xencall_alloc_buffer", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
        free = self._function("xencall_free_buffer", None, ctypes.c_void_p, ctypes.c_void_p)
        call = self._function("xencall1", ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint64)
        place: int | None = allocate(self._handle, len(structure))
        if not place:
            raise MachineError(f"no memory for a hypercall: {os.strerror(ctypes.get_errno())}")
        try:
            ctypes.memmove(place, structure, len(structure))
            code = ctypes.get_errno() if call(self._handle, number, place) < 0 else 0
            return code, ctypes.string_at(place, len(structure))
        finally:
            free(self._handle, place)

    def _function(self, name: str, result: type | None, *arguments: type) -> ctypes._NamedFuncPointer:
        function = self._library[name]
        function.restype, function.argtypes = result, arguments
        return function

    def close(self) -> None:
        """Close it."""
        if self._handle is not None:
            self._function("xencall_close", ctypes.c_int, ctypes.c_void_p)(self._handle)
            self._handle = None
