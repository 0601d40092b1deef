# SPDX-License-Identifier: GPL-2.0-or-later
"""Load options: what Boot#### and its like hold — UEFI 2.10 §3.1.3."""

from __future__ import annotations

from dataclasses import dataclass

from pvefi.layout import U16, U32, Structure, layout

__all__ = ["LOAD_OPTION_ACTIVE", "LoadOption", "LoadOptionError"]

LOAD_OPTION_ACTIVE = 0x00000001


@layout(size=6)
class _Header(Structure):
    attributes: U32
    file_path_list_length: U16  # FilePathListLength


class LoadOptionError(ValueError):
    """Bytes that are no load option, with what was found instead."""


@dataclass(frozen=True, slots=True)
class LoadOption:
    """EFI_LOAD_OPTION; `device_path` are all bytes of the list, `optional_data` is for the image."""

    attributes: int
    description: str
    device_path: bytes
    optional_data: bytes = b""

    @property
    def is_active(self) -> bool:
        """Whether the boot manager tries it on its own."""
        return bool(self.attributes & LOAD_OPTION_ACTIVE)

    @classmethod
    def parse(cls, data: bytes) -> LoadOption:
        """Return the load option that `data` is; LoadOptionError when it is none."""
        if len(data) < _Header.SIZE:
            raise LoadOptionError(f"{len(data)} bytes")
        header = _Header.unpack(data)
        end = _Header.SIZE
        while data[end : end + 2] != b"\0\0":
            end += 2
            if end + 2 > len(data):
                raise LoadOptionError("a description without end")
        path = end + 2
        rest = path + header.file_path_list_length
        if rest > len(data):
            raise LoadOptionError(
                f"{header.file_path_list_length} bytes of device path, {len(data) - path} there"
            )
        description = data[_Header.SIZE : end].decode("utf-16-le", "replace")
        return cls(header.attributes, description, data[path:rest], data[rest:])

    def pack(self) -> bytes:
        """Return the bytes of the load option."""
        header = _Header(self.attributes, len(self.device_path)).pack()
        return header + f"{self.description}\0".encode("utf-16-le") + self.device_path + self.optional_data
