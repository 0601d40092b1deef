# SPDX-License-Identifier: GPL-2.0-or-later
"""Changes that a store's owner makes outside of any guest: all are checked before the first is made.

Nothing is signed here and no signature is checked, but what is there must be a store that a guest can go on
with: variables that last, which a firmware could have put there, and a mode of Secure Boot that fits PK.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from pvefi.efi.authentication.descriptor import later
from pvefi.efi.varstore.store import NO_TIME, Capacity, Variable, VariableStore, name_size
from pvefi.errors import UsageError
from pvefi.spec.pvefi.variables import SECURE_BOOT_MODE
from pvefi.spec.uefi.guids import GLOBAL_VARIABLE, PVEFI_VARIABLE
from pvefi.spec.uefi.time import Time
from pvefi.spec.uefi.variables import AUTHENTICATED, VariableAttribute
from pvefi.trace.spelling import escaped

__all__ = ["now_or_later", "put_all", "remove_one"]

_PK = "PK", GLOBAL_VARIABLE
_MODE = SECURE_BOOT_MODE, PVEFI_VARIABLE
# "EFI_VARIABLE_APPEND_WRITE" belongs to a call, and is never stored — UEFI 2.10 §8.2.3.
_KEPT = sum(VariableAttribute) - int(VariableAttribute.APPEND_WRITE)


def put_all(store: VariableStore, variables: Iterable[Variable]) -> None:
    """Put `variables` into `store`, of several of one name the last; others stay.

    A mode of Secure Boot that is not among them is forgotten when PK changes: it was of the old PK.
    UsageError says which variable the store cannot take, and nothing is changed then; StoreError when
    writing fails.
    """
    wanted = {(one.name, one.vendor): one for one in variables}
    capacity = store.capacity()
    for one in wanted.values():
        _check(one, capacity)
    growing: list[Variable] = []
    shrinking: list[Variable] = []
    growth = 0
    for key, one in wanted.items():
        old = store.get(*key)
        more = capacity.taken_by(one) - (0 if old is None else capacity.taken_by(old))
        growth += more
        (growing if more > 0 else shrinking).append(one)
    if growth > capacity.remaining:
        raise UsageError(
            f"expected at most {capacity.remaining} bytes more, which the store has room for, "
            f"found {growth} with {', '.join(escaped(one.name) for one in growing)}"
        )
    if _MODE not in wanted and _PK in wanted and _differs(store, wanted[_PK]):
        _forget_mode(store)
    for one in shrinking + growing:  # in this order there is room at every step, if there is in the end
        store.put(one)


def _check(variable: Variable, capacity: Capacity) -> None:
    """Refuse what no firmware would have put into a store of non-volatile variables; UsageError."""
    name, attributes = escaped(variable.name), int(variable.attributes)
    if not attributes & VariableAttribute.NON_VOLATILE:
        raise UsageError(f"{name}: expected attributes of a non-volatile variable, found {attributes:#x}")
    if unknown := attributes & ~_KEPT:
        raise UsageError(
            f"{name}: expected attributes that are kept, {_KEPT:#x}, found {unknown:#x} in {attributes:#x}"
        )
    if not variable.data:
        raise UsageError(f"{name}: expected data, found none", "pvefi vars delete removes a variable")
    size, most = name_size(variable.name) + len(variable.data), capacity.largest_with(attributes)
    if size > most:
        raise UsageError(f"{name}: expected at most {most} bytes of name and data, found {size}")


def _differs(store: VariableStore, variable: Variable) -> bool:
    old = store.get(variable.name, variable.vendor)
    return old is None or old.data != variable.data


def _forget_mode(store: VariableStore) -> None:
    if store.get(*_MODE) is not None:
        store.remove(*_MODE)


def remove_one(store: VariableStore, variable: Variable) -> None:
    """Remove a variable that is there, and with PK the mode of Secure Boot; StoreError when writing fails."""
    if (variable.name, variable.vendor) == _PK:
        _forget_mode(store)  # first: a crash in between leaves user mode
    store.remove(variable.name, variable.vendor)


def now_or_later(attributes: int, old: Variable | None) -> bytes:
    """Return the timestamp of what the owner writes in place of `old`, as EFI_TIME.

    It is never lower than it was, so that no update that was signed before takes the change back.
    """
    before = NO_TIME if old is None else old.timestamp
    return later(_now(), before) if attributes & AUTHENTICATED else before


def _now() -> bytes:
    """Return the time of now as an authenticated write has it: no more than seconds — UEFI 2.10 §8.2.2."""
    now = datetime.now(UTC)
    return Time(now.year, now.month, now.day, now.hour, now.minute, now.second, 0, 0, 0, 0, 0).pack()
