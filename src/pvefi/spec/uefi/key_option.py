# SPDX-License-Identifier: GPL-2.0-or-later
"""Key options: what Key#### holds, the hot keys of load options — UEFI 2.10 §3.1.6."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pvefi.layout import U16, U32, Structure, layout
from pvefi.spec.uefi.keys import InputKey

__all__ = ["KeyOption", "KeyOptionError"]

_MODIFIERS: Mapping[int, str] = MappingProxyType(
    {1 << 8: "Shift", 1 << 9: "Control", 1 << 10: "Alt", 1 << 11: "Logo", 1 << 12: "Menu", 1 << 13: "SysReq"}
)
_COUNT_SHIFT = 30  # the highest two bits of the key data: how many keys follow


@layout(size=10)
class _Header(Structure):
    key_data: U32
    boot_option_crc: U32
    boot_option: U16


class KeyOptionError(ValueError):
    """Bytes that are no key option, with what was found instead."""


@dataclass(frozen=True, slots=True)
class KeyOption:
    """EFI_KEY_OPTION; `keys` are up to three, to be pressed together with the modifiers."""

    key_data: int
    boot_option_crc: int
    boot_option: int
    keys: tuple[InputKey, ...]

    @property
    def modifiers(self) -> tuple[str, ...]:
        """The names of the modifier keys that have to be pressed."""
        return tuple(name for bit, name in _MODIFIERS.items() if self.key_data & bit)

    @classmethod
    def parse(cls, data: bytes) -> KeyOption:
        """Return the key option that `data` is; KeyOptionError when it is none."""
        if len(data) < _Header.SIZE:
            raise KeyOptionError(f"{len(data)} bytes")
        header = _Header.unpack(data)
        count = header.key_data >> _COUNT_SHIFT
        if len(data) != _Header.SIZE + count * InputKey.SIZE:
            raise KeyOptionError(f"{len(data)} bytes for {count} keys")
        keys = tuple(InputKey.unpack(data, _Header.SIZE + at * InputKey.SIZE) for at in range(count))
        return cls(header.key_data, header.boot_option_crc, header.boot_option, keys)
