# SPDX-License-Identifier: GPL-2.0-or-later
"""Loading a PE image: where it is placed, what of it is written, and what its handle tells it."""

from __future__ import annotations

import struct
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pvefi.efi.host_directory import HostDirectory
from pvefi.efi.images import ImageSource, load
from pvefi.efi.pages import PageMap
from pvefi.errors import ImageError, UsageError
from pvefi.image.pe import parse_pe
from pvefi.memory import NamedRange
from pvefi.spec.uefi import device_path, device_path_text, guids
from pvefi.spec.uefi.memory import AllocateType, MemoryType
from pvefi.spec.uefi.protocols import LoadedImageProtocol
from pvefi.spec.xen.start_info import MemmapType
from tests.build.pe import PAGE, PeSection, build_pe, reloc_section, relocation_block
from tests.efi.boot.guest import SIZE, FakeGuest

MIB = 1 << 20
PREFERRED = 16 * MIB
ABSOLUTE, HIGHLOW, DIR64 = 0, 3, 10


@pytest.fixture
def guest() -> FakeGuest:
    return FakeGuest()


def source(
    sections: tuple[PeSection, ...] = (PeSection(),),
    options: str = "",
    name: str = "test.efi",
    keep_free: NamedRange | None = None,
    **fields: Any,
) -> ImageSource:
    data = build_pe((*sections, reloc_section(relocation_block(PAGE))), **fields)
    return ImageSource(name, parse_pe(name, data), data, options, keep_free)


def loaded_image(guest: FakeGuest, handle: int) -> LoadedImageProtocol:
    interface = guest.efi.handles.interface(handle, guids.LOADED_IMAGE_PROTOCOL)
    assert interface
    return LoadedImageProtocol.unpack(guest.memory.read(interface, LoadedImageProtocol.SIZE))


def path_at(guest: FakeGuest, address: int) -> bytes:
    return device_path.read_device_path(guest.memory, address)


# ---------------------------------------------------------------- placement


def test_an_image_goes_to_16_mib_when_nothing_else_is_wanted(guest: FakeGuest) -> None:
    loaded = load(guest.efi, source())
    assert loaded.base == 16 * MIB
    span = guest.efi.pages.span_at(loaded.base)
    assert span is not None
    assert (span.type, span.name, span.pages) == (MemoryType.LOADER_CODE, "test.efi", -(-loaded.size // 4096))


@pytest.mark.parametrize(
    ("keep_free", "base"),
    [
        (NamedRange("preferred", 16 * MIB, 4 * MIB), 20 * MIB),
        (NamedRange("preferred", 16 * MIB, 4 * MIB + 1), 22 * MIB),
        (NamedRange("preferred", 20 * MIB, 4 * MIB), 16 * MIB),
        (NamedRange("preferred", MIB, 4 * MIB), 16 * MIB),
        (NamedRange("preferred", 0, 0), 16 * MIB),
        # Where the image fits nowhere else, below 16 MiB.
        (NamedRange("preferred", 16 * MIB, 16 * MIB), 2 * MIB),
        (NamedRange("preferred", 12 * MIB, (1 << 64) - 1), 2 * MIB),
        # Where it fits only into what is wanted, there.
        (NamedRange("preferred", 0, 1 << 40), 16 * MIB),
    ],
)
def test_what_the_image_will_ask_for_is_left_free(guest: FakeGuest, keep_free: NamedRange, base: int) -> None:
    assert load(guest.efi, source(keep_free=keep_free)).base == base


@pytest.mark.parametrize(
    ("alignment", "base"), [(0x1000, 18 * MIB), (2 * MIB, 18 * MIB), (4 * MIB, 20 * MIB)]
)
def test_the_section_alignment_is_kept_and_never_less_than_2_mib(
    guest: FakeGuest, alignment: int, base: int
) -> None:
    guest.efi.pages.allocate(AllocateType.ADDRESS, MemoryType.LOADER_DATA, 1, 16 * MIB)
    made = source(section_alignment=alignment)
    assert load(guest.efi, made).base == base


def test_two_images_lie_apart(guest: FakeGuest) -> None:
    first, second = load(guest.efi, source()), load(guest.efi, source(name="second.efi"))
    assert first.base + first.size <= second.base
    assert first.handle != second.handle
    assert set(guest.efi.images) == {first.handle, second.handle}


def test_too_little_memory_says_how_much_would_do(guest: FakeGuest) -> None:
    made = source(size_of_image=64 * MIB)
    with pytest.raises(UsageError) as refusal:
        load(guest.efi, made)
    assert refusal.value.message.startswith("test.efi: expected 64 MiB of free memory in a row for the image")
    assert refusal.value.way_out == "give the guest more memory, at least --memory 96M"


def test_memory_in_pieces_is_too_little_too(guest: FakeGuest) -> None:
    for address in range(2 * MIB, SIZE, 4 * MIB):
        span = guest.efi.pages.span_at(address)
        if span is not None and span.type is MemoryType.CONVENTIONAL:
            guest.efi.pages.allocate(AllocateType.ADDRESS, MemoryType.LOADER_DATA, 1, address)
    with pytest.raises(UsageError, match="free memory in a row"):
        load(guest.efi, source(size_of_image=6 * MIB))


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"machine": 0xAA64}, "a PE image for AMD64"),
        ({"subsystem": 3}, "an EFI subsystem"),
        ({"address_of_entry_point": 0}, "an entry point"),
        ({"characteristics": 0x0207}, "an image that can be moved"),
    ],
)
def test_what_cannot_be_loaded_is_refused(guest: FakeGuest, fields: dict[str, Any], text: str) -> None:
    with pytest.raises(ImageError, match=text):
        load(guest.efi, source(**fields))


# ---------------------------------------------------------------- contents


def test_all_of_size_of_image_is_cleared_first(guest: FakeGuest) -> None:
    guest.memory.fill(16 * MIB, SIZE - 16 * MIB, 0xAA)
    code = PeSection(data=b"\x90" * 0x200, virtual_size=0x3000)
    loaded = load(guest.efi, source((code,)))
    memory = guest.memory.read(loaded.base, loaded.size)
    assert memory[PAGE : PAGE + 0x200] == b"\x90" * 0x200
    assert not any(memory[PAGE + 0x200 : PAGE + 0x3000])
    assert not any(memory[0x400:PAGE])
    assert memory[:2] == b"MZ"
    assert guest.memory.read(loaded.base + -(-loaded.size // 4096) * 4096, 1) == b"\xaa"


def test_an_image_is_relocated_to_where_it_is(guest: FakeGuest) -> None:
    linked = 0x1_4000_0000
    data = struct.pack("<QIQ", linked + 0x1234, 0x4000_1234, 0x5555)
    sections = [
        PeSection(data=data.ljust(0x200, b"\0")),
        reloc_section(relocation_block(PAGE, (DIR64, 0), (HIGHLOW, 8), (ABSOLUTE, 0), (ABSOLUTE, 0))),
    ]
    file = build_pe(sections, image_base=linked)
    loaded = load(guest.efi, ImageSource("moved.efi", parse_pe("moved.efi", file), file, ""))
    found = struct.unpack("<QIQ", guest.memory.read(loaded.base + PAGE, 20))
    moved = loaded.base - linked
    assert found == (loaded.base + 0x1234, 0x4000_1234 + moved & 0xFFFF_FFFF, 0x5555)


def test_the_table_of_relocations_stays_in_memory(guest: FakeGuest) -> None:
    """Xen relocates itself once more by it."""
    blocks = relocation_block(PAGE, (DIR64, 8), (ABSOLUTE, 0))
    file = build_pe([PeSection(), reloc_section(blocks)])
    loaded = load(guest.efi, ImageSource("xen.efi", parse_pe("xen.efi", file), file, ""))
    assert guest.memory.read(loaded.base + 2 * PAGE, len(blocks)) == blocks


# ---------------------------------------------------------------- what the image is told


def test_the_loaded_image_protocol_describes_the_image(guest: FakeGuest) -> None:
    loaded = load(guest.efi, source(options="console=ttyS0 \u00e9"))
    told = loaded_image(guest, loaded.handle)
    assert told.revision == 0x1000
    assert (told.parent_handle, told.unload, told.reserved) == (0, 0, 0)
    assert told.system_table == guest.efi.tables.system_table
    assert (told.image_base, told.image_size) == (loaded.base, loaded.size)
    assert (told.image_code_type, told.image_data_type) == (MemoryType.LOADER_CODE, MemoryType.LOADER_DATA)
    assert loaded.entry_point == loaded.base + PAGE
    options = guest.memory.read(told.load_options, told.load_options_size)
    assert options.decode("utf-16-le") == "console=ttyS0 \u00e9\0"


def test_without_options_there_are_none(guest: FakeGuest) -> None:
    told = loaded_image(guest, load(guest.efi, source()).handle)
    assert (told.load_options, told.load_options_size) == (0, 0)


def test_the_image_comes_from_a_device_with_a_path(guest: FakeGuest) -> None:
    loaded = load(guest.efi, source())
    told = loaded_image(guest, loaded.handle)
    efi = guest.efi
    device = efi.handles.interface(told.device_handle, guids.DEVICE_PATH_PROTOCOL)
    whole = efi.handles.interface(loaded.handle, guids.LOADED_IMAGE_DEVICE_PATH_PROTOCOL)
    assert device
    assert whole
    file = path_at(guest, told.file_path)
    assert device_path_text.text(file) == "\\test.efi"
    # UEFI 2.10 §9.2: the device's path, then the file's.
    end = len(device_path.END)
    assert path_at(guest, whole) == path_at(guest, device)[:-end] + file


def test_the_minimal_profile_has_no_device_path_of_the_image() -> None:
    guest = FakeGuest("minimal")
    loaded = load(guest.efi, source())
    assert guest.efi.handles.interface(loaded.handle, guids.LOADED_IMAGE_DEVICE_PATH_PROTOCOL) is None


@pytest.mark.parametrize("name", ["ä ö.efi", "\U0001f600.efi", "x" * 255, "\udcff\udc80.efi"])
def test_any_file_name_can_be_loaded(guest: FakeGuest, name: str) -> None:
    load(guest.efi, source(name=name))


def test_the_image_has_a_name_in_the_ranges(guest: FakeGuest) -> None:
    loaded = load(guest.efi, source())
    assert NamedRange("test.efi", loaded.base, loaded.size) in guest.efi.named_ranges()


@pytest.mark.parametrize("size", [16, 24])
def test_small_machines_load_small_images(size: int) -> None:
    guest = FakeGuest()
    guest.efi.pages = PageMap.from_memmap([(0, size * MIB, MemmapType.RAM)])
    guest.efi.pages.reserve(8 * MIB, MIB, MemoryType.BOOT_SERVICES_DATA)
    assert load(guest.efi, source()).base < size * MIB


def test_an_image_on_the_volume_has_its_place_there_as_file_path(guest: FakeGuest) -> None:
    given = replace(source(), file_path="\\EFI\\Xen\\test.efi")
    told = loaded_image(guest, load(guest.efi, given).handle)
    assert device_path_text.text(path_at(guest, told.file_path)) == "\\EFI\\Xen\\test.efi"


def test_the_device_of_the_image_has_the_volume(tmp_path: Path) -> None:
    with closing(HostDirectory(tmp_path)) as directory:
        guest = FakeGuest(directory=directory)
        told = loaded_image(guest, load(guest.efi, source()).handle)
        assert guest.efi.handles.interface(told.device_handle, guids.SIMPLE_FILE_SYSTEM_PROTOCOL)
