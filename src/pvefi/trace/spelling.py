# SPDX-License-Identifier: GPL-2.0-or-later
"""How a value of a trace is written for people: the specification's own names, quoted text, hexadecimal.

Enumeration members have PEP 8 names in `spec/`; here they get back the spelling of their document
(`MemoryType.LOADER_DATA` -> "EfiLoaderData"), by one rule a class. A number without a name stays a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from functools import lru_cache
from types import MappingProxyType

from pvefi.layout import Guid, OpenEnum
from pvefi.spec.uefi.guids import guid_name
from pvefi.trace.events import Address, Value

__all__ = ["TEXT_LIMIT", "Named", "escaped", "member_name", "quoted", "spell"]

TEXT_LIMIT = 64
"""So many characters of a string or bytes of a buffer are written before it is cut."""

_DECIMAL_LIMIT = 1 << 32  # counts and sizes read best in decimal; what is larger is a mask or an address


class Named(int):
    """A member of an enumeration as a trace file tells it: number, class, and name ('' if it has none)."""

    enum: str
    name: str

    def __new__(cls, value: int, enum: str, name: str) -> Named:
        """Return the number `value` that is written as `name`."""
        made = super().__new__(cls, value)
        made.enum, made.name = enum, name
        return made


@dataclass(frozen=True)
class _Spelling:
    """A prefix, then the member's name: as it stands, or CamelCase; `irregular` names override both."""

    prefix: str
    camel: bool = False
    irregular: Mapping[str, str] = field(default_factory=dict)

    def of(self, member: str) -> str:
        if member in self.irregular:
            return self.irregular[member]
        return self.prefix + (member.title().replace("_", "") if self.camel else member)


_SPELLINGS: Mapping[str, _Spelling] = MappingProxyType(
    {
        "AllocateType": _Spelling("Allocate", camel=True),  # UEFI 2.10 §7.2.1
        "MemoryType": _Spelling(  # UEFI 2.10 §7.2.1
            "Efi",
            camel=True,
            irregular={
                "RESERVED": "EfiReservedMemoryType",
                "CONVENTIONAL": "EfiConventionalMemory",
                "UNUSABLE": "EfiUnusableMemory",
                "ACPI_RECLAIM": "EfiACPIReclaimMemory",
                "ACPI_NVS": "EfiACPIMemoryNVS",
                "MEMORY_MAPPED_IO": "EfiMemoryMappedIO",
                "MEMORY_MAPPED_IO_PORT_SPACE": "EfiMemoryMappedIOPortSpace",
                "PERSISTENT": "EfiPersistentMemory",
                "UNACCEPTED": "EfiUnacceptedMemoryType",
            },
        ),
        "MemoryAttribute": _Spelling("EFI_MEMORY_"),  # UEFI 2.10 §7.2.3
        "RuntimeServicesSupported": _Spelling("EFI_RT_SUPPORTED_"),  # UEFI 2.10 §4.6.2
        "EventType": _Spelling("EVT_"),  # UEFI 2.10 §7.1.1
        "TimerDelay": _Spelling("Timer", camel=True),  # UEFI 2.10 §7.1.7
        "Tpl": _Spelling("TPL_"),  # UEFI 2.10 §7.1
        "InterfaceType": _Spelling("EFI_", irregular={"NATIVE": "EFI_NATIVE_INTERFACE"}),  # UEFI 2.10 §7.3.2
        "LocateSearchType": _Spelling("", camel=True),  # UEFI 2.10 §7.3.6
        "OpenProtocolAttributes": _Spelling("EFI_OPEN_PROTOCOL_"),  # UEFI 2.10 §7.3.9
        "VariableAttribute": _Spelling("EFI_VARIABLE_"),  # UEFI 2.10 §8.2.1
        "Authentication3Type": _Spelling(  # UEFI 2.10 §8.2.3
            "",
            irregular={
                "TIMESTAMP": "EFI_VARIABLE_AUTHENTICATION_3_TIMESTAMP_TYPE",
                "NONCE": "EFI_VARIABLE_AUTHENTICATION_3_NONCE_TYPE",
            },
        ),
        "Authentication3Flag": _Spelling("EFI_VARIABLE_ENHANCED_AUTH_FLAG_"),  # UEFI 2.10 §8.2.3
        "CertificateIdType": _Spelling("EFI_VARIABLE_AUTHENTICATION_3_CERT_ID_"),  # UEFI 2.10 §8.2.1
        "CapsuleFlag": _Spelling("CAPSULE_FLAGS_"),  # UEFI 2.10 §8.5.3
        "FileMode": _Spelling("EFI_FILE_MODE_"),  # UEFI 2.10 §13.5.2
        "FileAttribute": _Spelling("EFI_FILE_"),  # UEFI 2.10 §13.5.2
        "Daylight": _Spelling("EFI_TIME_"),  # UEFI 2.10 §8.3.1
        "ResetType": _Spelling("EfiReset", camel=True),  # UEFI 2.10 §8.5.1
        "DevicePathType": _Spelling(  # as edk2 names them; UEFI 2.10 §10.3.1 has numbers
            "",
            irregular={
                "HARDWARE": "HARDWARE_DEVICE_PATH",
                "ACPI": "ACPI_DEVICE_PATH",
                "MESSAGING": "MESSAGING_DEVICE_PATH",
                "MEDIA": "MEDIA_DEVICE_PATH",
                "BBS": "BBS_DEVICE_PATH",
                "END": "END_DEVICE_PATH_TYPE",
            },
        ),
        "ScanCode": _Spelling("SCAN_"),  # as edk2 names them; UEFI 2.10 Appendix B.1 has numbers
    }
)


@lru_cache(maxsize=1024, typed=True)  # two classes' members of one number are equal, their names are not
def member_name(value: IntEnum | IntFlag) -> str:
    """Return an enumeration member's name as its specification writes it; '' for a number without a name.

    Flags are joined by '|', with a last hexadecimal number for bits that have no name. A class outside the
    table above may bring a property `efi_name`; without one its Python names are written.
    """
    if isinstance(value, OpenEnum) and not value.known:
        return ""
    own: object = getattr(value, "efi_name", None)
    if isinstance(own, str):
        return own
    rule = _SPELLINGS.get(type(value).__name__, _Spelling(""))
    if isinstance(value, IntFlag):
        return _flag_names(value, rule)
    return rule.of(value.name)


def _flag_names(value: IntFlag, rule: _Spelling) -> str:
    exact = type(value).__members__.items()
    for name, member in exact:
        if member.value == value.value:  # a composite or zero value that the specification itself names
            return rule.of(name)
    names, rest = [], value.value
    for name, member in exact:
        if member.value and member.value & rest == member.value:
            names.append(rule.of(name))
            rest &= ~member.value
    if rest and names:
        names.append(f"{rest:#x}")
    return "|".join(names)


def quoted(text: str, limit: int = TEXT_LIMIT) -> str:
    """Return `text` in double quotes, cut to `limit` characters, with nothing that moves a terminal."""
    shown = escaped(text[:limit].replace("\\", "\\\\").replace('"', '\\"'))
    return f'"{shown}"' + ("..." if len(text) > limit else "")


def escaped(text: str) -> str:
    r"""Return `text` with every letter that does not print as its escape: \r, \x1b, \u202e."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode("ascii")
        for letter in text
    )


def spell(value: Value, limit: int = TEXT_LIMIT) -> str:
    """Return one argument or output as `trace show` writes it."""
    match value:
        case None:
            return "NULL"
        case bool():
            return "TRUE" if value else "FALSE"
        case str():
            return quoted(value, limit)
        case bytes():
            return f"<{value[:limit].hex()}>" + ("..." if len(value) > limit else "")
        case Guid():
            return guid_name(value)
        case Address():
            return f"{value:#x}"
        case Named():
            return value.name or f"{int(value):#x}"
        case IntEnum() | IntFlag():
            return member_name(value) or f"{int(value):#x}"
        case _:
            return f"{value:#x}" if value >= _DECIMAL_LIMIT else f"{value}"
