#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs in a dom0: asks Xen for the EFI services that no program of Debian's asks for, and prints the answers.

    python3 xen_efi_calls.py

One JSON object on stdout: `vendor` and `version` of the firmware by XENPF_firmware_info; by
XENPF_efi_runtime_call the clock, before and after it was set to a day of the next year, and the monotonic
count's high half.
Sources: xen/include/public/platform.h, xen/include/public/xen.h; libxencall. Standard library only.
"""

from __future__ import annotations

import ctypes
import json
import struct
import sys

__all__: list[str] = []

PLATFORM_OP = 7  # xen/include/public/xen.h, __HYPERVISOR_platform_op
INTERFACE_VERSION = 0x03000001  # xen/include/public/platform.h, XENPF_INTERFACE_VERSION
EFI_RUNTIME_CALL, FIRMWARE_INFO = 49, 50  # XENPF_efi_runtime_call, XENPF_firmware_info
GET_TIME, SET_TIME, GET_NEXT_HIGH_MONOTONIC_COUNT = 1, 2, 5  # XEN_EFI_*
FW_EFI_INFO, FW_EFI_VERSION, FW_EFI_VENDOR = 4, 0, 2  # XEN_FW_EFI_*
PAGE = 4096
OP_SIZE = 136  # sizeof(struct xen_platform_op)
NAME_AT = 512  # where in the page a string goes
TIME = struct.Struct("<H5BxIhBx")  # struct xenpf_efi_time


class Xen:
    """The way to Xen's platform operations, and the page in which they travel."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libxencall.so.1", use_errno=True)
        for name, result, arguments in (
            ("xencall_open", ctypes.c_void_p, (ctypes.c_void_p, ctypes.c_uint)),
            ("xencall_alloc_buffer", ctypes.c_void_p, (ctypes.c_void_p, ctypes.c_size_t)),
            ("xencall1", ctypes.c_int, (ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint64)),
        ):
            function = getattr(self._library, name)
            function.restype, function.argtypes = result, arguments
        self._handle = self._library.xencall_open(None, 0)
        page = self._library.xencall_alloc_buffer(self._handle, PAGE) if self._handle else None
        self.page = int(page or 0)
        if not self.page:
            raise OSError(ctypes.get_errno(), "no hypercalls: not in a dom0, or no rights")

    def ask(self, command: int, body: bytes) -> bytes:
        """Return the operation's bytes after its header, as Xen has left them; OSError when it refuses."""
        request = struct.pack("<II", command, INTERFACE_VERSION) + body
        ctypes.memmove(self.page, request.ljust(OP_SIZE, b"\0"), OP_SIZE)
        if self._library.xencall1(self._handle, PLATFORM_OP, self.page) < 0:
            raise OSError(ctypes.get_errno(), f"Xen refuses the platform operation {command}")
        return ctypes.string_at(self.page, OP_SIZE)[8:]

    def efi(self, function: int, body: bytes = b"") -> tuple[int, bytes]:
        """Return what came of a runtime service: `misc` and what is told besides; OSError for its status."""
        answer = self.ask(EFI_RUNTIME_CALL, struct.pack("<IIQ", function, 0, 0) + body)
        _, misc, status = struct.unpack_from("<IIQ", answer)
        if status:
            raise OSError(0, f"EFI function {function} answers {status:#x}")
        return misc, answer[16:]

    def time(self) -> tuple[int, ...]:
        """Return the clock's year, month, day, hour, minute, second, nanosecond, time zone and daylight."""
        return TIME.unpack_from(self.efi(GET_TIME)[1])

    def vendor(self) -> str:
        """Return who has made the firmware."""
        body = struct.pack("<IIIIQ", FW_EFI_INFO, FW_EFI_VENDOR, 0, PAGE - NAME_AT, self.page + NAME_AT)
        self.ask(FIRMWARE_INFO, body)
        text = ctypes.string_at(self.page + NAME_AT, PAGE - NAME_AT)
        return text.decode("utf-16-le").partition("\0")[0]

    def version(self) -> int:
        """Return the revision of the system table."""
        answer = self.ask(FIRMWARE_INFO, struct.pack("<II", FW_EFI_INFO, FW_EFI_VERSION))
        return int(struct.unpack_from("<I", answer, 8)[0])


def main() -> int:
    """Ask, and print what was told; 1 with one line on stderr when Xen refuses."""
    try:
        xen = Xen()
        before = xen.time()
        # A day that every year has, and an hour that is not over soon.
        set_to = (before[0] + 1, 6, 15, 12, 0, 0, *before[6:])
        xen.efi(SET_TIME, TIME.pack(*set_to))
        after = xen.time()
        told = {
            "vendor": xen.vendor(),
            "version": xen.version(),
            "time": {"before": before, "set": set_to, "after": after},
            "high_monotonic_count": xen.efi(GET_NEXT_HIGH_MONOTONIC_COUNT)[0],
        }
    except OSError as error:
        print(f"xen-efi: {error.strerror}", file=sys.stderr)
        return 1
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
