# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures the variable services on a store once, and prints what was found as JSON: a process of its own.

python bench/store_once.py set|get|open FOLDER
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.store_guest import RuntimeGuest
from pvefi.efi.varstore.edk2 import Edk2Store, empty_store
from pvefi.efi.varstore.store import StoreError, Variable
from pvefi.layout import Guid
from pvefi.spec.edk2.ovmf import OVMF_4M, StoreLayout
from pvefi.spec.uefi.variables import VariableAttribute
from tests.efi.varstore.flash import Flash

__all__ = ["MANY", "FEW", "main"]

FEW, MANY = 10, 5000
_LARGE = StoreLayout(
    "large",
    size=0x410000,
    block_size=0x1000,
    store_size=0x200000,
    working_offset=0x200000,
    working_size=0x1000,
    spare_offset=0x210000,
    spare_size=0x200000,
    largest_variable=OVMF_4M.largest_variable,
    largest_authenticated=OVMF_4M.largest_authenticated,
)
"""A store with room for MANY variables: that of OVMF has some 1,800 of this size."""
_VENDOR = Guid.parse("cfc8fc79-be2e-4ddc-97f0-9f98bfe298a0")
_USUAL = VariableAttribute(7)  # non-volatile, boot services, runtime
_DATA_SIZE = 64
_BLOCK = 4096
_STRIDE = 2503  # a prime number, so that the variables read are spread over the store
_SETS, _GETS, _OPENS = 300, 3000, 20


def _variable(number: int, data: bytes) -> Variable:
    return Variable(f"Variable{number:04}", _VENDOR, _USUAL, data)


def measure_set(folder: Path) -> dict[str, float]:
    """Return medians in us: a changed variable until the answer, and a block written and synced beside it."""
    path, beside = folder / "vars.fd", folder / "block"
    path.write_bytes(empty_store(OVMF_4M))
    beside.write_bytes(bytes(OVMF_4M.size))
    for made in (path, beside):
        with made.open("rb") as stream:
            os.fsync(stream.fileno())
    block = beside.open("r+b", buffering=0)
    sets: list[float] = []
    writes: list[float] = []
    with block, Edk2Store.open(path) as store:
        guest = RuntimeGuest(store)
        gate = guest.gate("SetVariable")
        name = guest.place("Variable0000\0".encode("utf-16-le"))
        vendor, data = guest.place(_VENDOR.wire), guest.place(bytes(_DATA_SIZE))
        for number in range(_SETS):
            guest.store(data, number.to_bytes(_DATA_SIZE, "little"))
            sets.append(guest.seconds(gate, name, vendor, _USUAL, _DATA_SIZE, data))
            contents = os.urandom(_BLOCK)
            began = time.perf_counter()
            os.pwrite(block.fileno(), contents, _BLOCK * (number % (OVMF_4M.size // _BLOCK)))
            os.fsync(block.fileno())
            writes.append(time.perf_counter() - began)
    return {"set_us": 1e6 * median(sets), "write_us": 1e6 * median(writes)}


def measure_get(_folder: Path) -> dict[str, float]:
    """Return medians in us of GetVariable in a store with FEW variables and in one with MANY."""
    guests = {count: _getter(count) for count in (FEW, MANY)}
    times: Mapping[int, list[float]] = {count: [] for count in guests}
    for step in range(_GETS):
        for count, get in guests.items():
            times[count].append(get(step * _STRIDE % count))
    return {"few_us": 1e6 * median(times[FEW]), "many_us": 1e6 * median(times[MANY])}


def _getter(count: int) -> Callable[[int], float]:
    """Return what reads a variable by its number, in a store of `count`, and tells the seconds it took."""
    store = Edk2Store(Flash(bytearray(empty_store(_LARGE))), (_LARGE,))
    for number in range(count):
        store.put(_variable(number, number.to_bytes(_DATA_SIZE, "little")))
    guest = RuntimeGuest(store)
    gate = guest.gate("GetVariable")
    name = guest.place("Variable0000\0".encode("utf-16-le"))
    vendor, data = guest.place(_VENDOR.wire), guest.place(bytes(_DATA_SIZE))
    size = guest.place(_DATA_SIZE.to_bytes(8, "little") + bytes(4))
    attributes = size + 8

    def get(number: int) -> float:
        guest.store(name, f"Variable{number:04}".encode("utf-16-le"))
        return guest.seconds(gate, name, vendor, attributes, size, data)

    return get


def measure_open(folder: Path) -> dict[str, float]:
    """Return medians in ms of opening OVMF's store for writing, empty and full of small variables."""
    found = {}
    for name in ("empty", "full"):
        path = folder / f"{name}.fd"
        path.write_bytes(_full_store() if name == "full" else empty_store(OVMF_4M))
        times = []
        for _ in range(_OPENS):
            began = time.perf_counter()
            Edk2Store.open(path).close()
            times.append(time.perf_counter() - began)
        found[f"{name}_ms"] = 1e3 * median(times)
    return found


def _full_store() -> bytes:
    flash = Flash(bytearray(empty_store(OVMF_4M)))
    store = Edk2Store(flash)
    try:
        for number in itertools.count():
            store.put(_variable(number, bytes(_DATA_SIZE)))
    except StoreError:
        return bytes(flash.contents)
    raise AssertionError("unreachable: a store ends")


def main(words: list[str]) -> int:
    """Measure what `words` name and print it."""
    what, folder = words
    measures = {"set": measure_set, "get": measure_get, "open": measure_open}
    print(json.dumps(measures[what](Path(folder))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
