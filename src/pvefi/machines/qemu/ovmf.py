# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds OVMF, the EFI firmware for QEMU that pvefi is compared with, where distributions put it.

Packages describe their firmware by JSON files for programs (QEMU's docs/interop/firmware.json); where there
are none, the usual places are looked at.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType

from pvefi.errors import MachineError
from pvefi.machines.qemu.packages import OVMF, installing

__all__ = ["Ovmf", "find_ovmf"]

_VERSIONED: Mapping[str, str] = MappingProxyType({"q35": "pc-q35-1.0", "pc": "pc-i440fx-1.0"})
"""A versioned name of each machine type that OVMF is built for: descriptions have patterns of such names."""

_FOLDERS = ("etc/qemu/firmware", "usr/share/qemu/firmware")
_UNWANTED = frozenset(("requires-smm", "enrolled-keys"))  # firmware that runs only what is signed
_FORMATS = frozenset(("raw", "qcow2"))
_DESCRIPTION_LIMIT = 1 << 20  # bytes; they have 1 KB

_QCOW2_SIZE = slice(24, 32)
"""Where a QCOW2 file's header has the size of its contents, big-endian — QEMU's docs/interop/qcow2.txt."""

_PLACES = (
    ("usr/share/OVMF/OVMF_CODE_4M.fd", "usr/share/OVMF/OVMF_VARS_4M.fd"),  # Debian 11 and later, Ubuntu
    ("usr/share/OVMF/OVMF_CODE.fd", "usr/share/OVMF/OVMF_VARS.fd"),
    ("usr/share/edk2/ovmf/OVMF_CODE_4M.qcow2", "usr/share/edk2/ovmf/OVMF_VARS_4M.qcow2"),  # Fedora
    ("usr/share/edk2/ovmf/OVMF_CODE.fd", "usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("usr/share/edk2/x64/OVMF_CODE.4m.fd", "usr/share/edk2/x64/OVMF_VARS.4m.fd"),  # Arch
    ("usr/share/edk2-ovmf/OVMF_CODE.fd", "usr/share/edk2-ovmf/OVMF_VARS.fd"),  # Gentoo
    ("usr/share/qemu/ovmf-x86_64-4m-code.bin", "usr/share/qemu/ovmf-x86_64-4m-vars.bin"),  # openSUSE
    ("usr/share/qemu/ovmf-x86_64-code.bin", "usr/share/qemu/ovmf-x86_64-vars.bin"),
    ("usr/share/qemu/edk2-x86_64-code.fd", "usr/share/qemu/edk2-i386-vars.fd"),  # QEMU's own
)


@dataclass(frozen=True)
class Ovmf:
    """The two flash images of OVMF: its code, and the empty variable store that each guest gets a copy of.

    The formats are what QEMU's `-drive format=` takes.
    """

    code: Path
    variables: Path
    code_format: str = "raw"
    variables_format: str = "raw"


def find_ovmf(machine_type: str = "q35", root: Path = Path("/"), *, store_size: int = 0) -> Ovmf:
    """Return the OVMF for `machine_type`, without Secure Boot; MachineError when there is none.

    With `store_size` it is one whose variable store has that many bytes.
    """
    if machine_type not in _VERSIONED:
        raise MachineError(f"OVMF has no build for the machine {machine_type}", "take q35 or pc")
    for description in _descriptions(root):
        found = _described(description, machine_type, root)
        if found is not None and _usable(found, store_size):
            return found
    for code, variables in _PLACES:
        kind = "qcow2" if code.endswith(".qcow2") else "raw"
        found = Ovmf(root / code, root / variables, kind, kind)
        if _usable(found, store_size):
            return found
    which = f" with a variable store of {store_size} bytes" if store_size else ""
    raise MachineError(
        f"no OVMF{which} for the machine {machine_type} found in the usual places", installing(OVMF)
    )


def _usable(found: Ovmf, store_size: int) -> bool:
    if not all(path.is_file() and os.access(path, os.R_OK) for path in (found.code, found.variables)):
        return False
    return not store_size or store_size == _size(found)


def _size(ovmf: Ovmf) -> int:
    """Return how many bytes of variables the OVMF has."""
    if ovmf.variables_format != "qcow2":
        return ovmf.variables.stat().st_size
    with ovmf.variables.open("rb") as file:
        return int.from_bytes(file.read(_QCOW2_SIZE.stop)[_QCOW2_SIZE], "big")


def _descriptions(root: Path) -> Iterator[object]:
    """Yield the firmware descriptions of this host in the order of their priority.

    A file hides those of its name in later folders, and an empty one is there for nothing else.
    """
    own = os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser()
    folders = [Path(own) / "qemu/firmware", *(root / folder for folder in _FOLDERS)]
    files: dict[str, Path] = {}
    for folder in folders:
        with contextlib.suppress(OSError):
            for path in folder.glob("*.json"):
                files.setdefault(path.name, path)
    for _, path in sorted(files.items()):
        with contextlib.suppress(OSError, ValueError, RecursionError), path.open("rb") as file:
            yield json.loads(file.read(_DESCRIPTION_LIMIT))


def _described(description: object, machine_type: str, root: Path) -> Ovmf | None:
    """Return what a description names, when it is EFI firmware in flash for `machine_type`."""
    mapping = _member(description, "mapping")
    patterns = [
        pattern
        for target in _list(description, "targets")
        if _member(target, "architecture") == "x86_64"
        for pattern in _list(target, "machines")
    ]
    fits = (
        "uefi" in _list(description, "interface-types")
        and not _UNWANTED.intersection(filter(_is_text, _list(description, "features")))
        and _member(mapping, "device") == "flash"
        and _member(mapping, "mode") in (None, "split")
        and any(
            isinstance(pattern, str) and fnmatchcase(_VERSIONED[machine_type], pattern)
            for pattern in patterns
        )
    )
    if not fits:
        return None
    parts = []
    for name in ("executable", "nvram-template"):
        file, kind = (_member(_member(mapping, name), key) for key in ("filename", "format"))
        if not isinstance(file, str) or not isinstance(kind, str) or kind not in _FORMATS or "\0" in file:
            return None
        parts.append((root / file.lstrip("/"), kind))
    (code, code_format), (variables, variables_format) = parts
    return Ovmf(code, variables, code_format, variables_format)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _member(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None


def _list(value: object, name: str) -> list[object]:
    found = _member(value, name)
    return found if isinstance(found, list) else []
