# SPDX-License-Identifier: GPL-2.0-or-later
"""A store in memory puts and gets, whatever a variable may mean."""

from __future__ import annotations

import pytest

from pvefi.efi.varstore.memory import MemoryStore
from pvefi.efi.varstore.store import Variable, VariableStore
from pvefi.spec.uefi.guids import GLOBAL_VARIABLE, SHIM_LOCK
from pvefi.spec.uefi.variables import VariableAttribute


def variable(name: str, data: bytes = b"", attributes: int = 0) -> Variable:
    return Variable(name, SHIM_LOCK, VariableAttribute(attributes), data)


def test_a_store_keeps_what_it_is_given_in_order() -> None:
    store: VariableStore = MemoryStore()
    for name in ("b", "", "a"):
        store.put(variable(name))
    store.put(variable("b", b"changed", 0xFFFF))
    assert list(store) == [variable("b", b"changed", 0xFFFF), variable(""), variable("a")]
    assert store.get("a", SHIM_LOCK) == variable("a")
    assert store.get("a", GLOBAL_VARIABLE) is None


def test_what_is_removed_is_gone_and_cannot_be_removed_again() -> None:
    store = MemoryStore()
    store.put(variable("a"))
    store.remove("a", SHIM_LOCK)
    assert list(store) == []
    with pytest.raises(KeyError):
        store.remove("a", SHIM_LOCK)


def test_a_store_may_be_changed_while_it_is_gone_through() -> None:
    store = MemoryStore()
    for name in "abc":
        store.put(variable(name))
    for found in store:
        store.remove(found.name, found.vendor)
    assert list(store) == []
