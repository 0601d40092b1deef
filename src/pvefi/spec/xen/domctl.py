# SPDX-License-Identifier: GPL-2.0-or-later
"""What Xen tells of a domain: xen/include/public/domctl.h, and why one shut down: xen/include/public/sched.h.

domctl is an interface of Xen's own tools: it may change with each release, and every call carries the version
that its caller was made for. What stands here, the head of XEN_DOMCTL_getdomaininfo, has been the same in all
releases listed; sizes and offsets are those of x86-64.
"""

from __future__ import annotations

from enum import IntFlag

from pvefi.layout import U16, U32, OpenEnum, Structure, layout

__all__ = [
    "DOMCTL_INTERFACE_VERSIONS",
    "DOMCTL_SIZE",
    "GET_DOMAIN_INFO",
    "HYPERCALL_DOMCTL",
    "HYPERCALL_XEN_VERSION",
    "SHUTDOWN_MASK",
    "SHUTDOWN_SHIFT",
    "DomainFlag",
    "GetDomainInfo",
    "Shutdown",
]

HYPERCALL_XEN_VERSION = 17
"""xen/include/public/xen.h, __HYPERVISOR_xen_version."""
HYPERCALL_DOMCTL = 36
"""xen/include/public/xen.h, __HYPERVISOR_domctl."""
GET_DOMAIN_INFO = 5
"""XEN_DOMCTL_getdomaininfo."""
DOMCTL_SIZE = 16 + 128
"""struct xen_domctl: its head, and a union of which `pad` is 128 bytes."""
DOMCTL_INTERFACE_VERSIONS = (0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11)
"""XEN_DOMCTL_INTERFACE_VERSION of Xen 4.22, 4.19 to 4.21, 4.18, 4.17, 4.16, 4.15, 4.13 and 4.14, 4.12."""

SHUTDOWN_SHIFT, SHUTDOWN_MASK = 16, 0xFF
"""XEN_DOMINF_shutdownshift and XEN_DOMINF_shutdownmask: where in the flags the guest's own code is."""


class DomainFlag(IntFlag):
    """XEN_DOMINF_*."""

    DYING = 1 << 0
    HVM_GUEST = 1 << 1
    SHUTDOWN = 1 << 2
    PAUSED = 1 << 3
    """By a control program."""
    BLOCKED = 1 << 4
    RUNNING = 1 << 5
    DEBUGGED = 1 << 6
    XENSTORE_DOMAIN = 1 << 7
    HAP = 1 << 8


class Shutdown(OpenEnum):
    """SHUTDOWN_*: why a domain has shut down."""

    POWEROFF = 0
    REBOOT = 1
    SUSPEND = 2
    CRASH = 3
    WATCHDOG = 4
    SOFT_RESET = 5


@layout(size=24)
class GetDomainInfo(Structure):
    """The heads of xen_domctl and of its xen_domctl_getdomaininfo, of which Xen fills in the last two."""

    cmd: U32
    interface_version: U32
    asked_domain: U16
    pad0: U16 = 0
    pad1: U32 = 0
    domain: U16 = 0
    pad2: U16 = 0
    flags: U32 = 0
