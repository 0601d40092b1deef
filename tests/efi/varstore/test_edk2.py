# SPDX-License-Identifier: GPL-2.0-or-later
"""A store in edk2's format: what it takes, what it refuses, and that others read it."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from virt.firmware.varstore.edk2 import Edk2VarStore

from pvefi.efi.errors import EfiError
from pvefi.efi.runtime.variables import set_variable
from pvefi.efi.varstore.edk2 import Edk2Store, empty_store
from pvefi.efi.varstore.edk2_format import FIRST
from pvefi.efi.varstore.store import StoreError, StoreFault, Variable, VariableStore
from pvefi.errors import ImageError, PvefiError, UsageError
from pvefi.spec.edk2.ovmf import OVMF_2M, OVMF_4M, StoreLayout
from pvefi.spec.edk2.variable_store import VARIABLE_STORE, AuthenticatedVariableHeader
from pvefi.spec.uefi.guids import GLOBAL_VARIABLE
from pvefi.spec.uefi.variables import VariableAttribute
from tests.conftest import RealFiles
from tests.efi.boot.guest import FakeGuest
from tests.efi.varstore.flash import SMALL, VENDOR, Flash, held, opened, store_on, variable

ODD = ("\ud800", "Ünï", "a b", "🙂", "x" * 200)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "vars.fd"
    made.write_bytes(empty_store(OVMF_4M))
    return made


@pytest.mark.parametrize(("layout", "file"), [(OVMF_4M, "OVMF_VARS_4M.fd"), (OVMF_2M, "OVMF_VARS.fd")])
def test_an_empty_store_is_byte_for_byte_that_of_debian(
    corpus: RealFiles, layout: StoreLayout, file: str
) -> None:
    assert empty_store(layout) == corpus.file("ovmf", f"usr/share/OVMF/{file}").read_bytes()


@pytest.mark.parametrize("file", ["OVMF_VARS_4M.ms.fd", "OVMF_VARS.ms.fd", "OVMF_VARS_4M.snakeoil.fd"])
def test_stores_that_ovmf_wrote_are_read(corpus: RealFiles, file: str) -> None:
    with Edk2Store.open(corpus.file("ovmf", f"usr/share/OVMF/{file}"), writable=False) as store:
        found = {one.name: one for one in store}
    assert {"PK", "KEK", "db", "dbx", "BootOrder", "SecureBootEnable"} - set(found) <= {"BootOrder"}
    assert found["Timeout"] == Variable("Timeout", GLOBAL_VARIABLE, VariableAttribute(7), b"\0\0")
    assert any(found["PK"].timestamp)


def test_what_is_put_is_there_when_the_store_is_opened_again(path: Path) -> None:
    expected = {name: name.encode("utf-8", "surrogatepass") * 3 for name in ODD}
    with Edk2Store.open(path) as store:
        for name, data in expected.items():
            store.put(variable(name, data))
        store.put(variable("gone"))
        store.remove("gone", VENDOR)
    with Edk2Store.open(path, writable=False) as again:
        assert held(again) == expected
        assert again.get("a b", VENDOR) == variable("a b", expected["a b"])
        assert again.get("a b", GLOBAL_VARIABLE) is None


def test_a_store_is_in_order_of_arrival_whatever_happens_to_it() -> None:
    store: VariableStore = opened(empty_store(SMALL))
    for name in "cab":
        store.put(variable(name))
    for number in range(40):
        store.put(variable("a", bytes([number]) * 30))
        assert [one.name for one in store] == ["c", "a", "b"]


def test_putting_what_is_there_already_writes_nothing() -> None:
    flash = Flash()
    store = store_on(flash)
    store.put(variable("A"))
    flash.steps.clear()
    store.put(variable("A"))
    assert not flash.steps


def test_what_is_signed_keeps_its_time() -> None:
    flash = Flash()
    signed = Variable("db", VENDOR, VariableAttribute(0x27), b"list", bytes(range(16)))
    store_on(flash).put(signed)
    for number in range(40):
        store_on(flash).put(variable("A", bytes([number]) * 40))
    assert store_on(flash).get("db", VENDOR) == signed


def test_a_store_without_room_for_times_is_taken_too() -> None:
    image = bytearray(empty_store(SMALL))
    image[0x48:0x58] = VARIABLE_STORE.wire
    flash = Flash(image)
    store = store_on(flash)
    for number in range(60):
        store.put(variable("A", bytes([number]) * 40))
    store.put(variable("B"))
    assert held(opened(flash.contents)) == {"A": bytes([59]) * 40, "B": b"data"}
    assert store.capacity().overhead == 32


def test_the_room_that_is_told_is_all_the_room_there_is() -> None:
    store = opened(empty_store(SMALL))
    assert store.capacity().size == SMALL.store_size - FIRST
    store.put(variable("A", b"1" * 100))
    store.put(variable("A", b"2" * 100))
    room = store.capacity().room_for_one(7)
    with pytest.raises(StoreError) as refused:
        store.put(variable("B", bytes(room - 3)))
    assert refused.value.fault is StoreFault.FULL
    assert held(store) == {"A": b"2" * 100}
    store.put(variable("B", bytes(room - 4)))
    store.remove("A", VENDOR)
    assert store.capacity().remaining == SMALL.store_size - FIRST - 60 - room


def test_a_variable_is_found_without_reading_the_medium_again() -> None:
    flash = Flash()
    with store_on(flash) as store:
        store.put(variable("A"))
        store.put(variable("B", b"other"))
        flash.contents[:] = bytes(len(flash.contents))
        assert store.get("A", VENDOR) == variable("A")
        assert held(store) == {"A": b"data", "B": b"other"}


@pytest.mark.parametrize(
    "strange",
    [
        Variable("A", VENDOR, VariableAttribute(0xFFFFFFFF), b"data"),
        Variable("A", VENDOR, VariableAttribute(1 << 32), b"data"),
        Variable("", VENDOR, VariableAttribute(7), b"data"),
        Variable("A\0B", VENDOR, VariableAttribute(7), b"data"),
    ],
)
def test_what_would_not_be_found_again_is_refused_before_anything_is_written(strange: Variable) -> None:
    flash = Flash()
    store = store_on(flash)
    with pytest.raises(StoreError, match="expected a"):
        store.put(strange)
    assert not flash.steps
    store.put(variable("B"))
    assert held(store) == held(opened(flash.contents)) == {"B": b"data"}


def test_a_store_that_reads_as_unsound_after_a_write_is_a_store_error() -> None:
    store = opened(empty_store(SMALL))
    store.put(variable("A", b"1" * 300))
    store.put(variable("A", b"2" * 300))
    store._image[0x5D] = 0xFF  # the state in the store's header
    with pytest.raises(StoreError, match="healthy"):
        store.put(variable("B", b"3" * 300))


# ---------------------------------------------------------------- bad stores


def changed(offset: int, data: bytes) -> bytes:
    image = bytearray(empty_store(OVMF_4M))
    image[offset : offset + len(data)] = data
    return bytes(image)


def with_variable(state: int = 0x3F, name: bytes = b"A\0\0\0", **fields: int) -> bytes:
    values = {"name_size": len(name), "data_size": 4, "attributes": 7, **fields}
    header = AuthenticatedVariableHeader(
        0x55AA,
        state,
        0,
        values["attributes"],
        0,
        bytes(16),
        0,
        values["name_size"],
        values["data_size"],
        VENDOR.wire,
    )
    return changed(FIRST, header.pack() + name + b"data")


_CHECKSUM = struct.pack("<H", 0x1234)
BAD = {
    "truncated": (empty_store(OVMF_4M)[:-1], "expected a volume|expected a variable store"),
    "cut to nothing": (b"", "found 0 bytes"),
    "of another size": (empty_store(OVMF_4M) + b"\xff", "variable store of 540672 bytes"),
    "without volume": (bytes(540672), "expected a firmware volume"),
    "of another volume": (changed(16, bytes(16)), "expected a volume of variables"),
    "with a wrong checksum": (changed(0x32, _CHECKSUM), "expected checksum 0xb8af, found 0x1234"),
    "with a wrong header": (changed(0x37, b"\x01"), "revision 1"),
    "of another store": (changed(0x48, bytes(16)), "expected a variable store, aaf32c78"),
    "with a wrong store size": (changed(0x58, bytes(4)), "expected a store of 262072 bytes, found 0"),
    "not formatted": (changed(0x5C, b"\xff"), "0xff 0xfe"),
    "not healthy": (changed(0x5D, b"\xff"), "0x5a 0xff"),
    "with a name past its end": (with_variable(name_size=0x7FFFFFFF), "past its end"),
    "with data past its end": (with_variable(data_size=0x40000), "past its end"),
    "with sizes that overflow": (with_variable(name_size=0xFFFFFFF0, data_size=0x20), "past its end"),
    "with attributes that nobody wrote": (with_variable(attributes=0xFFFFFFFF), "name that ends in NUL"),
    "with an odd name": (with_variable(name=b"A\0\0"), "name that ends in NUL"),
    "with a name without end": (with_variable(name=b"A\0B\0"), "name that ends in NUL"),
    "with an empty name": (with_variable(name=b"\0\0"), "name that ends in NUL"),
    "with a variable out of reach": (
        changed(FIRST, bytes(4) + with_variable()[FIRST : FIRST + 68]),
        "a variable at 0x68",
    ),
}


@pytest.mark.parametrize("defect", BAD)
@pytest.mark.parametrize("writable", [True, False])
def test_a_bad_store_is_refused_in_a_clear_line_and_left_as_it_is(
    tmp_path: Path, defect: str, writable: bool
) -> None:
    contents, line = BAD[defect]
    path = tmp_path / "bad.fd"
    path.write_bytes(contents)
    with pytest.raises(ImageError, match=line) as refused:
        Edk2Store.open(path, writable=writable)
    assert "\n" not in str(refused.value)
    assert path.read_bytes() == contents


def test_variables_in_whatever_state_are_no_more_than_that() -> None:
    for state in range(256):
        live = state in (0x3F, 0x3E)
        image = with_variable(state)
        path = Flash(bytearray(image), writable=False)
        assert len(list(Edk2Store(path))) == live


def test_a_second_user_is_refused_until_the_first_has_gone(path: Path) -> None:
    with Edk2Store.open(path):
        for writable in (True, False):
            with pytest.raises(UsageError, match="that nobody else uses, found it in use"):
                Edk2Store.open(path, writable=writable)
        code = (
            "import sys; from pathlib import Path; from pvefi.cli import main; sys.exit(main(sys.argv[1:]))"
        )
        words = [sys.executable, "-c", code, "vars", "delete", str(path), "A"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert "another pvefi or QEMU has it open" in done.stderr
    with Edk2Store.open(path, writable=False), Edk2Store.open(path, writable=False):
        pass
    Edk2Store.open(path).close()


# ---------------------------------------------------------------- failures while open


class Failing(Flash):
    """Flash whose writes fail from one on."""

    def fail_after(self, writes: int, number: int) -> None:
        self.left, self.number = writes, number

    left = 1 << 30
    number = 0

    def write(self, offset: int, data: bytes) -> None:
        if not self.left:
            fault = StoreFault.FULL if self.number == errno.ENOSPC else StoreFault.DEVICE
            raise StoreError(fault, os.strerror(self.number))
        self.left -= 1
        super().write(offset, data)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_write_that_fails_leaves_a_store_that_can_be_used_later(number: int) -> None:
    for writes in range(7):
        flash = Failing()
        store = store_on(flash)
        store.put(variable("A", b"old"))
        flash.fail_after(writes, number)
        try:
            store.put(variable("A", b"new"))
        except StoreError:
            assert store.get("A", VENDOR) == variable("A", b"old")
        flash.fail_after(1 << 30, 0)
        assert held(opened(flash.contents))["A"] in (b"old", b"new")
        store.put(variable("B"))
        assert held(store) == held(opened(flash.contents))
        assert set(held(store)) == {"A", "B"}


def test_a_store_that_is_only_read_is_write_protected(guest: FakeGuest, path: Path) -> None:
    with Edk2Store.open(path, writable=False) as store:
        guest.surroundings.kept.variables = store
        with pytest.raises(EfiError, match="EFI_WRITE_PROTECTED"):
            set_variable(guest.efi, "A", VENDOR, VariableAttribute(7), 4, guest.put(b"data"))
    assert path.read_bytes() == empty_store(OVMF_4M)


def test_a_full_store_is_out_of_resources(guest: FakeGuest) -> None:
    guest.surroundings.kept.variables = opened(empty_store(SMALL))
    data = guest.put(bytes(600))
    set_variable(guest.efi, "A", VENDOR, VariableAttribute(7), 600, data)
    with pytest.raises(EfiError, match="EFI_OUT_OF_RESOURCES"):
        set_variable(guest.efi, "B", VENDOR, VariableAttribute(7), 600, data)


# ---------------------------------------------------------------- others


def test_virt_firmware_reads_what_pvefi_writes_and_the_other_way_round(path: Path) -> None:
    expected = {"One": b"1" * 33, "Two": bytes(range(256)), "Drei": b"\0"}
    with Edk2Store.open(path) as store:
        store.put(variable("Gone"))
        for name, data in expected.items():
            store.put(variable(name, b"before"))
            store.put(variable(name, data))
        store.remove("Gone", VENDOR)
    theirs = Edk2VarStore(str(path))
    found = theirs.get_varlist()
    assert {str(one.name): bytes(one.data) for one in found.values()} == expected
    assert {str(one.guid) for one in found.values()} == {str(VENDOR)}
    del found["Drei"]
    theirs.write_varstore(str(path), found)
    with Edk2Store.open(path) as store:
        assert held(store) == {name: expected[name] for name in ("One", "Two")}
        store.put(variable("Three"))
    assert set(Edk2VarStore(str(path)).get_varlist()) == {"One", "Two", "Three"}


def test_two_threads_that_open_one_store_do_not_both_get_it(path: Path) -> None:
    got: list[object] = []

    def take() -> None:
        try:
            got.append(Edk2Store.open(path))
        except PvefiError as error:
            got.append(error)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(one, Edk2Store) for one in got) == 1
    for one in got:
        if isinstance(one, Edk2Store):
            one.close()
