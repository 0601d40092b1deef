# SPDX-License-Identifier: GPL-2.0-or-later
"""Variable attributes, and the variables that the specification itself defines — UEFI 2.10 §3.3, §8.2."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import IntFlag
from types import MappingProxyType
from typing import Annotated

from pvefi.layout import Guid, Scalar
from pvefi.spec.uefi.guids import GLOBAL_VARIABLE, HARDWARE_ERROR_VARIABLE, IMAGE_SECURITY_DATABASE

__all__ = [
    "ACCESS",
    "AUTHENTICATED",
    "DEFINED_VARIABLES",
    "VARIABLE_ATTRIBUTES",
    "VariableAttribute",
    "defined_attributes",
    "is_numbered",
    "is_read_only",
]


class VariableAttribute(IntFlag):
    """EFI_VARIABLE_* attribute bits — UEFI 2.10 §8.2.1."""

    NON_VOLATILE = 0x01
    BOOTSERVICE_ACCESS = 0x02
    RUNTIME_ACCESS = 0x04
    HARDWARE_ERROR_RECORD = 0x08
    AUTHENTICATED_WRITE_ACCESS = 0x10
    TIME_BASED_AUTHENTICATED_WRITE_ACCESS = 0x20
    APPEND_WRITE = 0x40
    ENHANCED_AUTHENTICATED_ACCESS = 0x80


AUTHENTICATED = (
    VariableAttribute.TIME_BASED_AUTHENTICATED_WRITE_ACCESS | VariableAttribute.ENHANCED_AUTHENTICATED_ACCESS
)
"""Either kind of authenticated access."""

VARIABLE_ATTRIBUTES = Annotated[VariableAttribute, Scalar("I")]

ACCESS = VariableAttribute.BOOTSERVICE_ACCESS | VariableAttribute.RUNTIME_ACCESS
"""Both kinds of access."""

_BS_RT = ACCESS
_NV_BS_RT = VariableAttribute.NON_VOLATILE | ACCESS
_NV_BS_RT_AT = _NV_BS_RT | VariableAttribute.TIME_BASED_AUTHENTICATED_WRITE_ACCESS

# UEFI 2.10 §3.3, Table 3-1: `#` stands for a hexadecimal digit.
_GLOBAL: Mapping[str, VariableAttribute] = MappingProxyType(
    {
        "AuditMode": _BS_RT,
        "Boot####": _NV_BS_RT,
        "BootCurrent": _BS_RT,
        "BootNext": _NV_BS_RT,
        "BootOptionSupport": _BS_RT,
        "BootOrder": _NV_BS_RT,
        "ConIn": _NV_BS_RT,
        "ConInDev": _BS_RT,
        "ConOut": _NV_BS_RT,
        "ConOutDev": _BS_RT,
        "CryptoIndications": _NV_BS_RT,
        "CryptoIndicationsActivated": _BS_RT,
        "CryptoIndicationsSupported": _BS_RT,
        "DeployedMode": _BS_RT,
        "Driver####": _NV_BS_RT,
        "DriverOrder": _NV_BS_RT,
        "ErrOut": _NV_BS_RT,
        "ErrOutDev": _BS_RT,
        "HwErrRecSupport": _NV_BS_RT,
        "KEK": _NV_BS_RT_AT,
        "KEKDefault": _BS_RT,
        "Key####": _NV_BS_RT,
        "Lang": _NV_BS_RT,
        "LangCodes": _BS_RT,
        "OsIndications": _NV_BS_RT,
        "OsIndicationsSupported": _BS_RT,
        "OsRecoveryOrder": _NV_BS_RT_AT,
        "PK": _NV_BS_RT_AT,
        "PKDefault": _BS_RT,
        "PlatformLang": _NV_BS_RT,
        "PlatformLangCodes": _BS_RT,
        "PlatformRecovery####": _BS_RT,
        "SecureBoot": _BS_RT,
        "SetupMode": _BS_RT,
        "SignatureSupport": _BS_RT,
        "SysPrep####": _NV_BS_RT,
        "SysPrepOrder": _NV_BS_RT,
        "Timeout": _NV_BS_RT,
        "VendorKeys": _BS_RT,
        "dbDefault": _BS_RT,
        "dbrDefault": _BS_RT,
        "dbtDefault": _BS_RT,
        "dbxDefault": _BS_RT,
        "devAuthBoot": _BS_RT,
        "devdbDefault": _BS_RT,
    }
)

DEFINED_VARIABLES: Mapping[Guid, Mapping[str, VariableAttribute]] = MappingProxyType(
    {
        GLOBAL_VARIABLE: _GLOBAL,
        # UEFI 2.10 §32.6.1
        IMAGE_SECURITY_DATABASE: MappingProxyType(
            dict.fromkeys(("db", "dbr", "dbt", "dbx", "devdb"), _NV_BS_RT_AT)
        ),
        # UEFI 2.10 §8.2.7.2
        HARDWARE_ERROR_VARIABLE: MappingProxyType(
            {"HwErrRec####": _NV_BS_RT | VariableAttribute.HARDWARE_ERROR_RECORD}
        ),
    }
)
"""The variables of each vendor GUID that the specification keeps for itself, with their attributes."""

# UEFI 2.10 §3.3: those by which the firmware tells what it is and does. Nobody else is to write them. Whether
# AuditMode and DeployedMode may be written depends on the mode.
_READ_ONLY = frozenset(
    {
        "BootOptionSupport",
        "CryptoIndicationsActivated",
        "CryptoIndicationsSupported",
        "HwErrRecSupport",
        "KEKDefault",
        "LangCodes",
        "OsIndicationsSupported",
        "PKDefault",
        "PlatformLangCodes",
        "PlatformRecovery####",
        "SecureBoot",
        "SetupMode",
        "SignatureSupport",
        "VendorKeys",
        "dbDefault",
        "dbrDefault",
        "dbtDefault",
        "dbxDefault",
        "devAuthBoot",
        "devdbDefault",
    }
)


# UEFI 2.10 §3.1.1: "printable hexadecimal representation using the digits 0-9, and the upper case versions of
# the characters A-F (0000-FFFF)".
_NUMBER = "[0-9A-F]{4}"


def defined_attributes(name: str, vendor: Guid) -> VariableAttribute | None:
    """Return the attributes that the specification gives the variable, None when it defines none such."""
    variables = DEFINED_VARIABLES.get(vendor, {})
    return variables.get(_pattern(name, variables))


def is_read_only(name: str, vendor: Guid) -> bool:
    """Whether the specification keeps the variable to the firmware."""
    return vendor == GLOBAL_VARIABLE and _pattern(name, _GLOBAL) in _READ_ONLY


def is_numbered(name: str, prefix: str) -> bool:
    """Whether `name` is `prefix` and a number as the specification writes it."""
    return re.fullmatch(f"{prefix}{_NUMBER}", name) is not None


def _pattern(name: str, known: Mapping[str, VariableAttribute]) -> str:
    """Return `name` as the specification writes it: Boot#### for Boot0001, nothing for Boot####."""
    numbered = re.sub(f"{_NUMBER}$", "####", name)
    if name in known:
        return "" if name.endswith("####") else name
    return numbered
