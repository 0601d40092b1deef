# SPDX-License-Identifier: GPL-2.0-or-later
"""A store on files and devices as the system has them: replaced, cut, full, only to be read, or none."""

from __future__ import annotations

import contextlib
import os
import resource
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pvefi.efi.errors import EfiError
from pvefi.efi.kept import Kept
from pvefi.efi.runtime.variables import set_variable
from pvefi.efi.varstore.edk2 import Edk2Store, empty_store
from pvefi.efi.varstore.medium import FileMedium, ReadOnlyError
from pvefi.efi.varstore.store import StoreError, StoreFault
from pvefi.errors import ImageError, UsageError
from pvefi.spec.edk2.ovmf import OVMF_2M, OVMF_4M
from pvefi.spec.uefi.variables import VariableAttribute
from tests.efi.boot.guest import FakeGuest
from tests.efi.varstore.disks import loop_device, only_read, system
from tests.efi.varstore.flash import VENDOR, held, variable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "vars.fd"
    made.write_bytes(empty_store(OVMF_4M))
    return made


# ---------------------------------------------------------------- while it is open


def deleted(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    os.truncate(path, 4096)


def lengthened(path: Path) -> None:
    os.truncate(path, OVMF_4M.size + 1)


def moved(path: Path) -> None:
    path.rename(path.with_suffix(".old"))


def replaced(path: Path) -> None:
    os.link(path, path.with_suffix(".kept"))
    other = path.with_suffix(".new")
    other.write_bytes(empty_store(OVMF_4M))
    other.rename(path)


@pytest.mark.parametrize("happens", [deleted, cut, lengthened, moved, replaced])
def test_a_store_that_vanishes_while_open_fails_as_a_device(
    guest: FakeGuest, path: Path, happens: Callable[[Path], None]
) -> None:
    with Edk2Store.open(path) as store:
        guest.surroundings.kept.variables = store
        data = guest.put(b"data")
        set_variable(guest.efi, "A", VENDOR, VariableAttribute(7), 4, data)
        happens(path)
        there = path.read_bytes() if path.exists() else None
        for _ in range(2):
            with pytest.raises(EfiError, match="EFI_DEVICE_ERROR"):
                set_variable(guest.efi, "B", VENDOR, VariableAttribute(7), 4, data)
        assert held(store) == {"A": b"data"}
        assert (path.read_bytes() if path.exists() else None) == there


def test_a_store_named_by_a_symbolic_link_is_the_file_behind_it(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(path)
    with Edk2Store.open(link) as store:
        store.put(variable("A"))
        with pytest.raises(UsageError, match="in use"):
            Edk2Store.open(path)
    assert link.is_symlink()
    with Edk2Store.open(path) as store:
        assert held(store) == {"A": b"data"}


@pytest.mark.parametrize("writable", [True, False])
def test_what_is_neither_a_file_nor_a_block_device_is_refused(tmp_path: Path, writable: bool) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("none")
    for path, line in (
        (tmp_path, "directory"),
        (tmp_path / "pipe", "found a pipe"),
        (tmp_path / "none", "No such file"),
        (tmp_path / "dangling", "No such file"),
        (tmp_path / "loop", "symbolic link"),
        (Path("/dev/null"), "found a device"),
        (Path("/dev/zero"), "found a device"),
        (Path("a\0b"), "null"),
    ):
        with pytest.raises(UsageError, match=line) as refused:
            Edk2Store.open(path, writable=writable)
        assert "\n" not in str(refused.value)


# ---------------------------------------------------------------- disks that are full


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Have the kernel refuse writes behind `size`: EFBIG, as Python ignores SIGXFSZ."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_write_that_the_system_has_no_room_for_is_out_of_resources(guest: FakeGuest, path: Path) -> None:
    with Edk2Store.open(path) as store:
        guest.surroundings.kept.variables = store
        set_variable(guest.efi, "A", VENDOR, VariableAttribute(7), 4, guest.put(b"data"))
        large = guest.put(bytes(8192))
        with files_of_at_most(4096), pytest.raises(EfiError, match="EFI_OUT_OF_RESOURCES"):
            set_variable(guest.efi, "B", VENDOR, VariableAttribute(7), 8192, large)
        assert held(store) == {"A": b"data"}
        set_variable(guest.efi, "C", VENDOR, VariableAttribute(7), 8192, large)
    with Edk2Store.open(path) as store:
        assert set(held(store)) == {"A", "C"}


def test_a_full_disk_is_out_of_resources(path: Path) -> None:
    """ENOSPC itself, which a file that is there in full seldom meets: /dev/full stands for the disk."""
    with FileMedium(path) as medium:
        full = os.open("/dev/full", os.O_RDWR)
        os.dup2(full, medium._descriptor)
        os.close(full)
        medium.fixed_size = False
        with pytest.raises(StoreError, match="No space left") as refused:
            medium.write(0, b"data")
        assert refused.value.fault is StoreFault.FULL


# ---------------------------------------------------------------- what can only be read


def test_a_store_that_can_only_be_read_is_so_and_its_guest_is_told(guest: FakeGuest, path: Path) -> None:
    with only_read(path) as there:
        with pytest.raises(ReadOnlyError, match="expected a variable store that can be written, found: "):
            Edk2Store.open(there)
        kept = Kept.open(there)
        assert kept.only_read
        guest.surroundings.kept.variables = kept.variables
        with pytest.raises(EfiError, match="EFI_WRITE_PROTECTED"):
            set_variable(guest.efi, "A", VENDOR, VariableAttribute(7), 4, guest.put(b"data"))
        kept.close()
        assert there.read_bytes() == empty_store(OVMF_4M)
    assert not Kept.open(None).only_read


# ---------------------------------------------------------------- block devices


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Path]:
    """A block device with a store in front, and other bytes behind."""
    image = tmp_path / "disk"
    image.write_bytes(empty_store(OVMF_2M) + b"\xa5" * (OVMF_4M.size * 2 - OVMF_2M.size))
    with loop_device(image) as made:
        yield made


def test_a_store_on_a_block_device_takes_its_part_of_it(device: Path) -> None:
    behind = device.read_bytes()[OVMF_2M.size :]
    with Edk2Store.open(device) as store:
        for number in range(40):  # more than fit, so that the store is written anew
            store.put(variable("A", bytes([number]) * 3000))
        with pytest.raises(UsageError, match="nobody else uses, found it in use"):
            Edk2Store.open(device)
    with Edk2Store.open(device, writable=False) as store:
        assert held(store) == {"A": bytes([39]) * 3000}
    assert device.read_bytes()[OVMF_2M.size :] == behind


def test_a_block_device_is_held_alone_by_whatever_name(device: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    os.mknod(other, 0o600 | stat.S_IFBLK, device.stat().st_rdev)
    with Edk2Store.open(device), pytest.raises(UsageError, match="found it in use"):
        Edk2Store.open(other)
    with Edk2Store.open(other):
        pass


def test_a_block_device_without_a_store_is_refused_and_left_as_it_is(device: Path) -> None:
    with device.open("r+b") as stream:
        stream.write(b"\0" * 64)
    before = device.read_bytes()
    with pytest.raises(ImageError, match="expected a firmware volume"):
        Edk2Store.open(device)
    assert device.read_bytes() == before


def test_a_block_device_that_is_too_small_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "disk"
    image.write_bytes(empty_store(OVMF_4M)[:0x40000])
    with (
        loop_device(image) as made,
        pytest.raises(ImageError, match="a variable store of 540672 bytes, found 262144"),
    ):
        Edk2Store.open(made)
    assert image.read_bytes() == empty_store(OVMF_4M)[:0x40000]


def test_a_device_that_is_set_read_only_is_only_read(device: Path) -> None:
    system("blockdev", "--setro", str(device))
    try:
        kept = Kept.open(device)
    finally:
        system("blockdev", "--setrw", str(device))  # a loop device keeps that for whoever has it next
    assert kept.only_read
    kept.close()
