# SPDX-License-Identifier: GPL-2.0-or-later
"""What a variable's data means, as far as its name and form tell."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from asn1crypto import x509

from pvefi.efi.authentication.creators import read_creators
from pvefi.efi.own_variables import is_own
from pvefi.efi.varstore.store import Variable
from pvefi.report.text import size_text
from pvefi.spec.edk2.firmware_variables import (
    MEMORY_TYPE_INFORMATION,
    MTC,
    RTC,
    MemoryTypeInformation,
    MonotonicCounter,
    RealTimeClock,
)
from pvefi.spec.edk2.secure_boot import VENDOR_KEYS_NV
from pvefi.spec.pvefi.variables import CLOCK_OFFSET, SECURE_BOOT_MODE, ClockOffset, StoredMode
from pvefi.spec.uefi import device_path_text
from pvefi.spec.uefi.device_path import DevicePathError
from pvefi.spec.uefi.guids import EDK2_CERT_DB, EDK2_MEMORY_TYPE_INFORMATION, GLOBAL_VARIABLE, guid_name
from pvefi.spec.uefi.key_option import KeyOption, KeyOptionError
from pvefi.spec.uefi.keys import InputKey, ScanCode
from pvefi.spec.uefi.load_option import LoadOption, LoadOptionError
from pvefi.spec.uefi.memory import PAGE_SIZE, MemoryType
from pvefi.spec.uefi.signature_list import (
    CERT_X509,
    SignatureList,
    SignatureListError,
    signature_lists,
)
from pvefi.spec.uefi.time import EFI_UNSPECIFIED_TIMEZONE, NANOSECONDS_PER_SECOND
from pvefi.spec.uefi.variables import VariableAttribute
from pvefi.trace.spelling import spell
from pvefi.trace.values import Json

__all__ = ["Meaning", "attribute_text", "meaning_of"]

_LOAD_OPTION = re.compile(r"(?:Boot|Driver|SysPrep|PlatformRecovery)[0-9A-Fa-f]{4}")
_KEY_OPTION = re.compile(r"Key[0-9A-Fa-f]{4}")
_ORDER = frozenset({"BootOrder", "DriverOrder", "SysPrepOrder", "BootNext", "BootCurrent"})
_PATHS = frozenset({"ConIn", "ConOut", "ErrOut", "ConInDev", "ConOutDev", "ErrOutDev"})
_LATIN = frozenset({"Lang", "LangCodes", "PlatformLang", "PlatformLangCodes"})
_SIGNATURES = frozenset({"PK", "KEK", "db", "dbx", "dbt", "dbr"})
_SIGNATURES_BY_DEFAULT = frozenset({"PKDefault", "KEKDefault", "dbDefault", "dbxDefault", "dbtDefault"})
_SHORT = {
    VariableAttribute.NON_VOLATILE: "NV",
    VariableAttribute.BOOTSERVICE_ACCESS: "BS",
    VariableAttribute.RUNTIME_ACCESS: "RT",
    VariableAttribute.HARDWARE_ERROR_RECORD: "HR",
    VariableAttribute.AUTHENTICATED_WRITE_ACCESS: "AW",
    VariableAttribute.TIME_BASED_AUTHENTICATED_WRITE_ACCESS: "AT",
    VariableAttribute.APPEND_WRITE: "AP",
    VariableAttribute.ENHANCED_AUTHENTICATED_ACCESS: "EA",
}
_COMMON_NAME_AT_MOST = 64  # characters: RFC 5280 Appendix A.1, ub-common-name
_TEXT_AT_LEAST = 3  # characters: fewer bytes are rather a number


@dataclass(frozen=True)
class Meaning:
    """One line that says what the data is, more lines where one is too few, and the same for programs."""

    line: str
    more: tuple[str, ...] = ()
    value: Json = None


def attribute_text(attributes: int) -> str:
    """Return attributes as two letters each, NV+BS+RT; bits without a name as a number."""
    named = [short for flag, short in _SHORT.items() if attributes & flag]
    if rest := attributes & ~sum(_SHORT):
        named.append(f"{rest:#x}")
    return "+".join(named) or "0"


def meaning_of(variable: Variable) -> Meaning | None:
    """Return what the data means, None when that cannot be told."""
    name, data = variable.name, variable.data
    if variable.vendor == GLOBAL_VARIABLE and _LOAD_OPTION.fullmatch(name):
        return _load_option(data)
    if variable.vendor == GLOBAL_VARIABLE and _KEY_OPTION.fullmatch(name):
        return _key_option(data)
    if variable.vendor == EDK2_CERT_DB:
        return _creators(data)
    if (name, variable.vendor) == (MEMORY_TYPE_INFORMATION, EDK2_MEMORY_TYPE_INFORMATION):
        return _memory_types(data)
    if is_own(name, variable.vendor):
        return _own(name, data)
    if name in _SIGNATURES | _SIGNATURES_BY_DEFAULT:
        return _signatures(data)
    if variable.vendor == GLOBAL_VARIABLE and name in _ORDER and len(data) % 2 == 0:
        numbers = [f"{number:04X}" for (number,) in struct.iter_unpack("<H", data)]
        return Meaning(", ".join(numbers), value=list(numbers))
    if variable.vendor == GLOBAL_VARIABLE and name in _PATHS:
        return _device_path(data)
    if variable.vendor == GLOBAL_VARIABLE and name in _LATIN:
        text = data.rstrip(b"\0").decode("latin-1")
        return Meaning(f'"{text}"', value=text)
    return _guess(data)


def _own(name: str, data: bytes) -> Meaning | None:
    """Return what the firmware keeps in a variable of its own."""
    if name == MTC and len(data) == MonotonicCounter.SIZE:
        high = MonotonicCounter.unpack(data).high
        return Meaning(f"counts up to {high + 1:#x}00000000 are used up", value=high)
    if name == RTC and len(data) == RealTimeClock.SIZE:
        clock = RealTimeClock.unpack(data)
        return Meaning(_zone(clock), value={"time_zone": clock.time_zone, "daylight": clock.daylight})
    if name == CLOCK_OFFSET and len(data) == ClockOffset.SIZE:
        offset = ClockOffset.unpack(data)
        nanoseconds = offset.seconds * NANOSECONDS_PER_SECOND + offset.nanoseconds
        sign, ahead = ("-", -nanoseconds) if nanoseconds < 0 else ("+", nanoseconds)
        whole, rest = divmod(ahead, NANOSECONDS_PER_SECOND)
        return Meaning(
            f"the host's clock {sign}{whole}.{rest:09} s, {_zone(offset)}",
            value={"nanoseconds": nanoseconds, "time_zone": offset.time_zone, "daylight": offset.daylight},
        )
    if name == SECURE_BOOT_MODE and data in {bytes([mode]) for mode in StoredMode}:
        mode = StoredMode(data[0]).name.lower().replace("_", " ")
        return Meaning(f"{mode} mode", value=mode)
    return _guess(data) if name == VENDOR_KEYS_NV else None


def _zone(clock: ClockOffset | RealTimeClock) -> str:
    zone = "unspecified" if clock.time_zone == EFI_UNSPECIFIED_TIMEZONE else f"{clock.time_zone} minutes"
    return f"time zone {zone}, daylight {clock.daylight}"


def _creators(data: bytes) -> Meaning | None:
    creators = read_creators(data)
    if creators is None:
        return None
    lines = [f"{name}, {guid_name(vendor)}: {creator.hex()}" for (name, vendor), creator in creators.items()]
    values: list[Json] = [
        {"name": name, "vendor": str(vendor), "signer": creator.hex()}
        for (name, vendor), creator in creators.items()
    ]
    count = f"{len(lines)} variable{'' if len(lines) == 1 else 's'}"
    return Meaning(f"who made {count}", tuple(lines), values)


def _load_option(data: bytes) -> Meaning | None:
    try:
        option = LoadOption.parse(data)
        path = device_path_text.text(option.device_path)
    except (LoadOptionError, DevicePathError):
        return None
    active = "" if option.is_active else ", not active"
    rest = _guess(option.optional_data)
    shown = rest.line if rest else option.optional_data.hex(" ")
    return Meaning(
        f'"{option.description}" {path}{active}',
        (f"optional data {shown}",) if option.optional_data else (),
        {
            "description": option.description,
            "attributes": option.attributes,
            "active": option.is_active,
            "device_path": path,
            "optional_data": option.optional_data.hex(),
        },
    )


def _key_option(data: bytes) -> Meaning | None:
    try:
        option = KeyOption.parse(data)
    except KeyOptionError:
        return None
    keys = [_key_text(key) for key in option.keys]
    pressed = "+".join([*option.modifiers, *keys])
    number = f"{option.boot_option:04X}"
    value: dict[str, Json] = {
        "boot_option": number,
        "boot_option_crc": option.boot_option_crc,
        "modifiers": list(option.modifiers),
        "keys": list(keys),
    }
    return Meaning(f"Boot{number} on {pressed or 'no key'}", value=value)


def _key_text(key: InputKey) -> str:
    if not key.unicode_char:
        code = ScanCode(key.scan_code)
        return code.name if code.known else f"scan code {key.scan_code:#x}"
    character = chr(key.unicode_char)
    return character if character.isprintable() and character != " " else f"U+{key.unicode_char:04X}"


def _memory_types(data: bytes) -> Meaning | None:
    """Return how much memory the firmware sets aside for each type, as edk2 found in earlier boots."""
    size = MemoryTypeInformation.SIZE
    if not data or len(data) % size:
        return None
    found = [MemoryTypeInformation.unpack(data, at) for at in range(0, len(data), size)]
    if not found[-1].pages:  # the one that ends the list
        found.pop()
    names = [spell(MemoryType(one.type)) for one in found]
    sizes = [size_text(one.pages * PAGE_SIZE) for one in found]
    values: list[Json] = [{"type": one.type, "pages": one.pages} for one in found]
    total = size_text(sum(one.pages for one in found) * PAGE_SIZE)
    more = tuple(f"{name}: {size}" for name, size in zip(names, sizes, strict=True))
    return Meaning(f"{total} set aside for {len(found)} memory types", more, values)


def _device_path(data: bytes) -> Meaning | None:
    try:
        path = device_path_text.text(data)
    except DevicePathError:
        return None
    return Meaning(path, value=path)


def _signatures(data: bytes) -> Meaning | None:
    try:
        lists = list(signature_lists(data))
    except SignatureListError:
        return None
    lines: list[str] = []
    values: list[Json] = []
    for one in lists:
        for owner, signature in one.signatures:
            subject = _subject(one, signature)
            lines.append(f"{one.kind}: {subject}, owner {guid_name(owner)}")
            values.append(
                {"type": one.kind, "owner": str(owner), "subject": subject, "data": signature.hex()}
            )
    return Meaning(_counted(lists), tuple(lines), values)


def _counted(lists: list[SignatureList]) -> str:
    """Return how many signatures there are of each kind, and whose the first certificate is."""
    kinds: dict[str, int] = {}
    for one in lists:
        kinds[one.kind] = kinds.get(one.kind, 0) + len(one.signatures)
    certificates = [data for one in lists if one.type == CERT_X509 for _, data in one.signatures]
    name = _common_name(certificates[0]) if certificates else None
    others = ", ..." if len(certificates) > 1 else ""
    whose = f": {name}{others}" if name else ""
    return (", ".join(f"{count} of {kind}" for kind, count in kinds.items()) or "no signatures") + whose


def _subject(of: SignatureList, signature: bytes) -> str:
    """Return whose certificate a signature is, or its bytes."""
    if of.type != CERT_X509:
        return signature.hex()
    try:
        return str(x509.Certificate.load(signature).subject.human_friendly)
    except (ValueError, TypeError):
        return f"{len(signature)} bytes that are no certificate"


def _common_name(certificate: bytes) -> str | None:
    try:
        name = x509.Certificate.load(certificate).subject.native.get("common_name")
    except (ValueError, TypeError):
        return None
    return name if isinstance(name, str) and len(name) <= _COMMON_NAME_AT_MOST else None


def _guess(data: bytes) -> Meaning | None:
    """Return a text that fills the data, or a number of one, two, four or eight bytes."""
    for encoding, unit in (("utf-16-le", 2), ("ascii", 1)):
        if len(data) % unit == 0:
            text = data.decode(encoding, "replace").removesuffix("\0")
            if len(text) >= _TEXT_AT_LEAST and text.isprintable() and "\ufffd" not in text and text.isascii():
                return Meaning(f'"{text}"', value=text)
    if len(data) in (1, 2, 4, 8):
        number = int.from_bytes(data, "little")
        return Meaning(f"{number:#x}" if number > 9 else str(number), value=number)
    return None
