# SPDX-License-Identifier: GPL-2.0-or-later
"""What a store holds of the operations' variables, read by pvefi and by virt-firmware."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from virt.firmware.varstore import edk2

from pvefi.efi.varstore.edk2 import Edk2Store
from pvefi.layout import Guid
from tests.variables_against_ovmf.batch import is_mine
from tests.variables_against_ovmf.model import Key

Stored = dict[Key, tuple[int, bytes, bytes]]
"""Attributes, data and timestamp of each variable."""


def read_by_pvefi(path: Path, wanted: Callable[[Guid], bool] = is_mine) -> Stored:
    with Edk2Store.open(path, writable=False) as store:
        return {
            (one.name.encode("utf-16-le", "surrogatepass"), one.vendor): (
                int(one.attributes),
                one.data,
                one.timestamp,
            )
            for one in store
            if wanted(one.vendor)
        }


def read_by_virt_firmware(
    path: Path, monkeypatch: pytest.MonkeyPatch, wanted: Callable[[Guid], bool] = is_mine
) -> Stored:
    """Return the same by virt-firmware, which is kept from taking variables of one name for the same."""
    efivar, ucs16 = edk2.efivar, edk2.ucs16

    class List(efivar.EfiVarList):  # type: ignore[misc, name-defined] # virt-firmware has no types
        def __setitem__(self, name: str, variable: Any) -> None:
            super().__setitem__(f"{name} {variable.guid}", variable)

    with monkeypatch.context() as patch:
        patch.setattr(efivar, "EfiVarList", List)
        # It prints names as UTF-16, which a lone surrogate is not.
        patch.setattr(ucs16.StringUCS16, "__str__", lambda name: name.data.hex())
        found = edk2.Edk2VarStore(str(path)).get_varlist()
    return {
        (bytes(one.name)[:-2], Guid(one.guid.bytes_le)): (one.attr, bytes(one.data), one.bytes_time())
        for one in found.values()
        if wanted(Guid(one.guid.bytes_le))
    }
