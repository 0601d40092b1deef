# SPDX-License-Identifier: GPL-2.0-or-later
"""How Xen hands a guest's I/O to a device model — xen/include/public/hvm/ioreq.h and hvm/dm_op.h.

An ioreq server has one page with a slot for each vCPU. A vCPU whose access falls into a range of the server's
stands still until its slot says that the response is ready.
"""

from __future__ import annotations

from enum import IntEnum

from pvefi.layout import U8, U16, U32, U64, OpenEnum, Structure, layout

__all__ = [
    "FLAG_DATA_IS_PTR",
    "FLAG_DF",
    "FLAG_READ",
    "HVM_IOREQSRV_BUFIOREQ_OFF",
    "MAX_NR_IOREQ_SERVERS",
    "STATE_MASK",
    "XENMEM_RESOURCE_IOREQ_SERVER",
    "XENMEM_RESOURCE_IOREQ_SERVER_FRAME_IOREQ",
    "XEN_DMOP_IO_RANGE_PORT",
    "Ioreq",
    "IoreqState",
    "IoreqType",
]


class IoreqState(IntEnum):
    """STATE_IOREQ_* and STATE_IORESP_READY: Xen crashes a domain whose slot goes backwards, but by its own.

    Sources: ioreq.h, and wait_for_io() in xen/common/ioreq.c.
    """

    NONE = 0
    READY = 1
    INPROCESS = 2
    RESPONSE_READY = 3


class IoreqType(OpenEnum):
    """IOREQ_TYPE_*."""

    PIO = 0
    COPY = 1
    PCI_CONFIG = 2
    TIMEOFFSET = 7
    INVALIDATE = 8
    """The domain has given memory back: nothing of it may be kept mapped."""


@layout(size=32)
class Ioreq(Structure):
    """struct ioreq; `flags` are the bit fields `state` (4 bits), `data_is_ptr`, `dir` and `df`."""

    addr: U64
    data: U64
    count: U32
    size: U32
    vp_eport: U32
    pad0: U16
    flags: U8
    type: U8


STATE_MASK = 0xF
"""The bits of `flags` that are an IoreqState."""
FLAG_DATA_IS_PTR = 1 << 4
"""`data` is a guest physical address: a string instruction, `count` times."""
FLAG_READ = 1 << 5
"""`dir` is IOREQ_READ."""
FLAG_DF = 1 << 6
"""The string instruction goes downwards."""

HVM_IOREQSRV_BUFIOREQ_OFF = 0  # xen/include/public/hvm/hvm_op.h
XEN_DMOP_IO_RANGE_PORT = 0  # xen/include/public/hvm/dm_op.h
MAX_NR_IOREQ_SERVERS = 8  # xen/include/xen/sched.h: of one domain

XENMEM_RESOURCE_IOREQ_SERVER = 0  # xen/include/public/memory.h
XENMEM_RESOURCE_IOREQ_SERVER_FRAME_IOREQ = 1  # XENMEM_resource_ioreq_server_frame_ioreq(0)
