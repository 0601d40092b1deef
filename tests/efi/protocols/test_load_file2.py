# SPDX-License-Identifier: GPL-2.0-or-later
"""The initial ramdisk behind LoadFile2, as Linux's EFI stub asks for it."""

from __future__ import annotations

import pytest

from pvefi.efi.errors import EfiError
from pvefi.efi.protocols import load_file2
from pvefi.efi.service import InOut
from pvefi.errors import GuestFault
from pvefi.layout import Guid
from pvefi.spec.uefi import device_path, guids
from pvefi.spec.uefi.protocols import LoadFile2Protocol
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import Address
from tests.efi.test_startup import SIZE, Started

THIS, PATH, BUFFER, LENGTH = Address(0), Address(0x10_0000), Address(0x20_0000), Address(0x11_0000)
INITRD = bytes(range(256)) * 40


@pytest.fixture
def started() -> Started:
    return Started(initrd=INITRD)


def load(
    started: Started, given: int, buffer: Address = BUFFER, path: Address = PATH, policy: bool = False
) -> int:
    """Return BufferSize after the call, which EFI_BUFFER_TOO_SMALL may have ended."""
    started.memory.write(LENGTH, given.to_bytes(8, "little"))
    size = InOut[int](started.memory, LENGTH, 8, int)
    try:
        load_file2.load_file(started.efi, THIS, path, policy, size, buffer)
    except EfiError as error:
        if error.status != EfiStatus.BUFFER_TOO_SMALL:
            raise
    return int.from_bytes(started.memory.read(LENGTH, 8), "little")


def test_the_stub_finds_it_by_its_device_path(started: Started) -> None:
    efi = started.efi
    (handle,) = efi.handles.handles_with(guids.LOAD_FILE2_PROTOCOL)
    address = efi.handles.interface(handle, guids.DEVICE_PATH_PROTOCOL) or 0
    path = device_path.read_device_path(started.memory, address)
    media = Guid.parse("5568e427-68fc-4f3d-ac74-ca555231cc68")  # LINUX_EFI_INITRD_MEDIA_GUID, linux/efi.h
    assert path == b"\x04\x03\x14\x00" + media.wire + b"\x7f\xff\x04\x00"
    interface = efi.handles.interface(handle, guids.LOAD_FILE2_PROTOCOL) or 0
    gate = LoadFile2Protocol.unpack(started.memory.read(interface, 8)).load_file
    service = efi.gates.service((gate - efi.trampoline.gate(0)) // 16)
    assert service is not None
    assert service.name == "EFI_LOAD_FILE2_PROTOCOL.LoadFile"


@pytest.mark.parametrize("profile", ["minimal", "linux"])
def test_without_an_initrd_there_is_no_protocol(profile: str) -> None:
    assert not Started(profile=profile).efi.handles.handles_with(guids.LOAD_FILE2_PROTOCOL)


@pytest.mark.parametrize("given", [0, 1, len(INITRD) - 1])
@pytest.mark.parametrize("buffer", [Address(0), BUFFER], ids=["no buffer", "buffer"])
def test_a_buffer_that_is_too_small_tells_the_size(started: Started, given: int, buffer: Address) -> None:
    assert load(started, given, buffer) == len(INITRD)
    assert started.memory.read(BUFFER, 16) == bytes(16)


def test_no_buffer_is_too_small_whatever_its_size(started: Started) -> None:
    assert load(started, 1 << 20, Address(0)) == len(INITRD)


@pytest.mark.parametrize("given", [len(INITRD), len(INITRD) + 100])
def test_the_file_is_loaded_and_its_size_told(started: Started, given: int) -> None:
    assert load(started, given) == len(INITRD)
    assert started.memory.read(BUFFER, len(INITRD) + 8) == INITRD + bytes(8)


def test_an_empty_initrd_is_loaded_as_such() -> None:
    started = Started(initrd=b"")
    assert load(started, 0) == 0


def test_a_boot_policy_is_unsupported(started: Started) -> None:
    with pytest.raises(EfiError, match="EFI_UNSUPPORTED: BootPolicy is TRUE"):
        load(started, 0, policy=True)


def test_a_missing_path_is_an_invalid_parameter(started: Started) -> None:
    with pytest.raises(EfiError, match="EFI_INVALID_PARAMETER: FilePath is NULL"):
        load(started, 0, path=Address(0))


@pytest.mark.parametrize("buffer", [SIZE - 16, SIZE, 1 << 60])
def test_a_buffer_that_is_no_memory_is_a_fault(started: Started, buffer: int) -> None:
    with pytest.raises(GuestFault):
        load(started, 1 << 30, Address(buffer))
    assert started.memory.read(SIZE - 16, 16) == bytes(16)
