# SPDX-License-Identifier: GPL-2.0-or-later
"""Asks Xen itself how a domain is, by libxencall.

Why a domain has shut down stands in no file and in no entry of xenstore, and `xl list` prints one letter of
it. The structures of libxenlight and libxenctrl change with each release, and so do the libraries' names.
What does not change is libxencall (one ABI, libxencall.so.1, since Xen 4.7), and, in all releases so far,
the first bytes that XEN_DOMCTL_getdomaininfo answers. Xen refuses a call that was made for another version
of the interface, so that a wrong answer can't be taken for a right one.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import Self

from pvefi.errors import MachineError
from pvefi.machines.xen.libraries import Libraries
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

__all__ = ["DomainState", "Hypercalls"]


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
    """An open way to Xen; MachineError when there is none, or no right to it."""

    def __init__(self, libraries: Libraries | None = None) -> None:
        self._calls = (libraries or Libraries()).calls()
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
            code, answer = self._calls.call(HYPERCALL_DOMCTL, request.pack().ljust(DOMCTL_SIZE, b"\0"))
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

    def close(self) -> None:
        """Close it."""
        self._calls.close()
