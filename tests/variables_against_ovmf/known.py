# SPDX-License-Identifier: GPL-2.0-or-later
"""What OVMF and pvefi are known to answer differently: each with operations that show it, on both.

docs/variables.md has a row of the same title for each. Random operations leave out what would make the two
hold different variables; these sequences are where that is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

from pvefi.layout import Guid
from pvefi.spec.uefi.guids import (
    EDK2_CERT_DB,
    EDK2_CUSTOM_MODE,
    GLOBAL_VARIABLE,
    HARDWARE_ERROR_VARIABLE,
)
from tests.variables_against_ovmf.machine import LOAD_OPTION, VENDORS
from tests.variables_against_ovmf.model import APPEND, BS, ENHANCED, HARDWARE_ERROR, NV, RT, TIME_BASED
from tests.variables_against_ovmf.operations import (
    GetVariable,
    Operation,
    QueryVariableInfo,
    SetVariable,
    wide,
)

MEMORY_OVERWRITE = Guid.parse("e20939be-32d4-41be-a150-897f85d49829")
"""The vendor of MemoryOverwriteRequestControl — TCG Platform Reset Attack Mitigation Specification."""
_ALL = NV | BS | RT
_USUAL = VENDORS[0]


@dataclass(frozen=True)
class Known:
    """A difference: the statuses of each operation under pvefi and under OVMF."""

    title: str
    operations: tuple[Operation, ...]
    ours: str
    theirs: str


def _set(name: str, data: bytes | None, attributes: int = _ALL, vendor: Guid = _USUAL) -> SetVariable:
    return SetVariable(wide(name), vendor, attributes, data)


def _global(name: str, data: bytes | None, attributes: int = _ALL) -> SetVariable:
    return _set(name, data, attributes, GLOBAL_VARIABLE)


def _get(name: str, vendor: Guid = _USUAL, room: int = 64) -> GetVariable:
    return GetVariable(wide(name), vendor, room, room)


def _content(name: str, data: bytes, attributes: int = _ALL) -> tuple[Operation, ...]:
    """Return how to set a global variable and to delete it."""
    return _global(name, data, attributes), _global(name, None, attributes)


KNOWN = (
    Known(
        "attributes without access, but not 0",
        (
            _set("A", b"x"),
            _set("A", b"x", NV),
            _set("A", b"x"),
            _set("A", None, APPEND),
            _set("A", None, NV),
            _set("A", b"x"),
            _set("A", None, TIME_BASED),
        ),
        "SUCCESS SUCCESS SUCCESS SUCCESS NOT_FOUND SUCCESS SUCCESS",
        "SUCCESS INVALID_PARAMETER SUCCESS INVALID_PARAMETER INVALID_PARAMETER SUCCESS SECURITY_VIOLATION",
    ),
    Known(
        "load options that are none",
        _content("Boot0F0A", b"bad") + _content("SysPrep0F0A", LOAD_OPTION[:-1]),
        "SUCCESS SUCCESS SUCCESS SUCCESS",
        "INVALID_PARAMETER NOT_FOUND INVALID_PARAMETER NOT_FOUND",
    ),
    Known(
        "numbers of another size",
        _content("BootNext", b"bad")
        + _content("DriverOrder", b"bad")
        + _content("OsIndications", bytes(7))
        + (_global("Timeout", b"\1"),),
        "SUCCESS SUCCESS SUCCESS SUCCESS SUCCESS SUCCESS SUCCESS",
        f"{'INVALID_PARAMETER NOT_FOUND ' * 3}INVALID_PARAMETER",
    ),
    Known(
        "variables that are younger than OVMF",
        _content("CryptoIndications", bytes(8)),
        "SUCCESS SUCCESS",
        "INVALID_PARAMETER NOT_FOUND",
    ),
    Known(
        "PlatformRecovery####",
        (_global("PlatformRecovery0F0A", LOAD_OPTION, BS | RT),),
        "WRITE_PROTECTED",
        "SUCCESS",
    ),
    Known(
        "appending nothing to a global variable that cannot be",
        (_global("BootNext", None, BS | APPEND), _global("Bogus", None, _ALL | APPEND)),
        "SUCCESS SUCCESS",
        "INVALID_PARAMETER INVALID_PARAMETER",
    ),
    Known(
        "AuditMode and DeployedMode",
        (_global("DeployedMode", b"\1", BS | RT), _get("DeployedMode", GLOBAL_VARIABLE)),
        "WRITE_PROTECTED SUCCESS",
        "INVALID_PARAMETER NOT_FOUND",
    ),
    Known(
        "hardware error records",
        (_set("HwErrRec0001", b"x", _ALL | HARDWARE_ERROR, HARDWARE_ERROR_VARIABLE),),
        "UNSUPPORTED",
        "INVALID_PARAMETER",
    ),
    Known(
        "enhanced authenticated variables",
        (_set("A", b"x", _ALL | ENHANCED),),
        "SECURITY_VIOLATION",
        "INVALID_PARAMETER",
    ),
    Known(
        "variables that are edk2's own",
        (
            _set("certdb", b"x", NV | BS, EDK2_CERT_DB),
            _set("certdb", None, 0, EDK2_CERT_DB),
            _set("CustomMode", b"\0", NV | BS, EDK2_CUSTOM_MODE),
            _set("CustomMode", None, 0, EDK2_CUSTOM_MODE),
        ),
        "WRITE_PROTECTED WRITE_PROTECTED SECURITY_VIOLATION SECURITY_VIOLATION",
        "WRITE_PROTECTED WRITE_PROTECTED SUCCESS SUCCESS",
    ),
    Known(
        "PlatformLang and Lang",
        (_global("PlatformLang", b"fr\0"), _get("Lang", GLOBAL_VARIABLE)),
        "SUCCESS NOT_FOUND",
        "SUCCESS SUCCESS",
    ),
    Known(
        "MemoryOverwriteRequestControl",
        (_set("MemoryOverwriteRequestControl", b"\1", _ALL, MEMORY_OVERWRITE),),
        "SUCCESS",
        "WRITE_PROTECTED",
    ),
    Known(
        "names of more than 32,768 characters",
        (_get("N" * 0x8001),),
        "INVALID_PARAMETER",
        "NOT_FOUND",
    ),
    Known(
        "how large a volatile variable may be",
        (
            _set("A", bytes((64 << 10) - 4), BS),
            _set("A", None, BS),
            _set("A", bytes((64 << 10) - 3), BS),
            _set("A", bytes(0x40000 - 60 - 4), BS),
            _set("A", bytes(0x40000 - 60 - 3), BS),
        ),
        "SUCCESS SUCCESS INVALID_PARAMETER INVALID_PARAMETER INVALID_PARAMETER",
        "SUCCESS SUCCESS SUCCESS SUCCESS INVALID_PARAMETER",
    ),
    Known(
        "room for attributes that mean nothing",
        (QueryVariableInfo(0x100), QueryVariableInfo(_ALL | 0x100)),
        "INVALID_PARAMETER INVALID_PARAMETER",
        "UNSUPPORTED SUCCESS",
    ),
    Known(
        "room for variables without access",
        (QueryVariableInfo(APPEND),),
        "INVALID_PARAMETER",
        "SUCCESS",
    ),
    Known(
        "room for hardware error records that are volatile",
        (QueryVariableInfo(BS | HARDWARE_ERROR),),
        "UNSUPPORTED",
        "INVALID_PARAMETER",
    ),
)
