# SPDX-License-Identifier: GPL-2.0-or-later
"""What every boot loader of the Linux x86 boot protocol does: kernel, zero page, command line, initrd.

Source: Linux boot.rst "Loading The Rest of The Kernel", "The Kernel Command Line", "The zero page".
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pvefi.efi.environment import Environment
from pvefi.efi.errors import EfiError
from pvefi.entries.entry import BootInfo, EntryRequest
from pvefi.errors import UsageError
from pvefi.image.bzimage import BzImage
from pvefi.memory import NamedRange
from pvefi.spec.linux.boot_params import BootParams
from pvefi.spec.linux.e820 import MAX_ENTRIES, E820Entry, E820Type
from pvefi.spec.linux.setup_data import SetupData, SetupDataType
from pvefi.spec.linux.setup_header import SETUP_HEADER_OFFSET
from pvefi.spec.pvefi.hypervisor_information import SETUP_DATA_TYPE, HypervisorInformation
from pvefi.spec.uefi.memory import PAGE_SIZE, AllocateType, MemoryType

__all__ = [
    "LoadedKernel",
    "bzimage_of",
    "check",
    "check_command_line",
    "fill_zero_page",
    "load_kernel",
    "place",
    "place_initrd",
    "place_zero_page",
    "wanted_memory",
    "zero_page",
]

_UNDEFINED_LOADER = 0xFF  # Linux boot.rst "type_of_loader": no number is assigned to pvefi
_BELOW_4_GIB = (1 << 32) - 1
_OLDEST_INITRD_LIMIT = 0x37FFFFFF  # Linux boot.rst "initrd_addr_max", for protocols before 2.03
_OLDEST_COMMAND_LINE = 255  # Linux boot.rst "cmdline_size", for protocols before 2.06
_SLACK = 32 << 20
_DEFAULT_ALIGNMENT = 2 << 20
_FIRST_SETUP_DATA = 0x0209  # Linux boot.rst "setup_data"
_DEFAULT_LOAD_ADDRESS = 0x100000  # Linux boot.rst "code32_start", for protocols before 2.10


@dataclass(frozen=True)
class LoadedKernel:
    """The protected-mode kernel in memory; `address` is guest physical."""

    address: int
    bzimage: BzImage


def bzimage_of(request: EntryRequest) -> BzImage:
    """Return the image's boot protocol part."""
    assert request.image.bzimage is not None, "an image without a setup header has no such entry"
    return request.image.bzimage


def wanted_memory(request: EntryRequest) -> int:
    """Return the bytes of memory with which the kernel has room at its preferred address."""
    header = bzimage_of(request).header
    return int(header.pref_address + header.init_size + _SLACK)


def place(efi: Environment, name: str, data: bytes | memoryview, *, below: int = _BELOW_4_GIB) -> int:
    """Write `data` to pages of its own, the last byte at most at `below`; UsageError when none are left."""
    pages = -(-len(data) // PAGE_SIZE) or 1
    try:
        address = efi.pages.allocate(
            AllocateType.MAX_ADDRESS, MemoryType.LOADER_DATA, pages, below, name=name
        )
    except EfiError as error:
        raise UsageError(
            f"expected {pages * PAGE_SIZE >> 10} KiB of free memory below {below + 1:#x} for {name}, "
            "found none",
            "give a larger --memory",
        ) from error
    efi.physical.fill(address, pages * PAGE_SIZE)
    efi.physical.write(address, data)
    return address


def load_kernel(efi: Environment, request: EntryRequest) -> LoadedKernel:
    """Put the protected-mode code at the kernel's preferred address, or at another that it accepts."""
    bzimage = bzimage_of(request)
    header = bzimage.header
    code = memoryview(request.data)[bzimage.protected_mode_offset :]
    size = max(header.init_size, len(code))
    pages = -(-size // PAGE_SIZE)
    address = _kernel_address(efi, bzimage, pages)
    efi.pages.allocate(AllocateType.ADDRESS, MemoryType.LOADER_CODE, pages, address, name="kernel")
    efi.physical.fill(address, pages * PAGE_SIZE)
    efi.physical.write(address, code)
    efi.ranges.append(NamedRange("kernel", address, size))
    return LoadedKernel(address, bzimage)


def _kernel_address(efi: Environment, bzimage: BzImage, pages: int) -> int:
    header = bzimage.header
    alignment = header.kernel_alignment
    if alignment < PAGE_SIZE or alignment & (alignment - 1):
        alignment = _DEFAULT_ALIGNMENT
    wanted = header.pref_address or _DEFAULT_LOAD_ADDRESS
    if wanted % PAGE_SIZE or wanted + pages * PAGE_SIZE > _BELOW_4_GIB:
        wanted = _DEFAULT_LOAD_ADDRESS  # code32_start has 32 bits, and pages begin at pages
    span = efi.pages.span_at(wanted)
    if span and span.type == MemoryType.CONVENTIONAL and wanted + pages * PAGE_SIZE <= span.end:
        return wanted
    # Linux boot.rst "relocatable_kernel": loadable "at any address that satisfies" kernel_alignment.
    if header.relocatable_kernel:
        found = efi.pages.lowest_free(pages, minimum=wanted, alignment=alignment)
        if found is not None and found + pages * PAGE_SIZE <= _BELOW_4_GIB:
            return found
    size = pages * PAGE_SIZE >> 20
    raise UsageError(
        f"expected {size} MiB of free memory in a row from {wanted:#x} for the kernel, found none",
        "give a larger --memory",
    )


def place_initrd(efi: Environment, *, below: int) -> tuple[int, int]:
    """Return address and size of the initial ramdisk in guest memory, zeroes where there is none."""
    initrd = efi.initrd
    if not initrd:
        return 0, 0
    return place(efi, "initrd", initrd, below=below), len(initrd)


def check(request: EntryRequest) -> None:
    """Refuse what this kernel's boot protocol cannot carry; UsageError."""
    check_command_line(request)
    protocol = bzimage_of(request).protocol
    if request.boot_info is BootInfo.SETUP_DATA and protocol < _FIRST_SETUP_DATA:
        raise UsageError(
            f"--boot-info setup-data expects boot protocol 2.09, found {bzimage_of(request).protocol_name}",
            "leave --boot-info out",
        )


def check_command_line(request: EntryRequest) -> None:
    """Refuse a command line that is longer than the kernel keeps; UsageError."""
    limit = bzimage_of(request).header.cmdline_size or _OLDEST_COMMAND_LINE
    size = len(request.command_line.encode())
    if size > limit:
        raise UsageError(f"expected a command line of at most {limit} bytes, found {size} bytes")


def zero_page(
    efi: Environment,
    kernel: LoadedKernel,
    request: EntryRequest,
    information: int,
    *,
    machine: bool = True,
) -> int:
    """Fill in boot_params, with the hypervisor information where it is asked for; return its address.

    With `machine`, e820 and the ACPI root are in it; a kernel that comes by way of EFI finds them itself.
    """
    params = fill_zero_page(efi, kernel, request, information, machine=machine)
    return place_zero_page(efi, kernel, params)


def fill_zero_page(
    efi: Environment, kernel: LoadedKernel, request: EntryRequest, information: int, *, machine: bool
) -> BootParams:
    """Place command line and initrd, and return boot_params as `zero_page` fills it in."""
    header = kernel.bzimage.header
    text = (request.command_line or efi.start.command_line).encode()
    command_line = place(efi, "command line", text + b"\0")
    initrd, initrd_size = place_initrd(efi, below=header.initrd_addr_max or _OLDEST_INITRD_LIMIT)
    entries = _e820(efi) if machine else ()
    params = BootParams.unpack(bytes(BootParams.SIZE))
    return replace(
        params,
        acpi_rsdp_addr=efi.start.info.rsdp_paddr if machine else 0,
        ext_ramdisk_image=initrd >> 32,
        ext_ramdisk_size=initrd_size >> 32,
        ext_cmd_line_ptr=command_line >> 32,
        e820_entries=len(entries),
        e820_table=entries + params.e820_table[len(entries) :],
        hdr=replace(
            header,
            type_of_loader=_UNDEFINED_LOADER,
            code32_start=kernel.address,
            ramdisk_image=initrd & 0xFFFFFFFF,
            ramdisk_size=initrd_size & 0xFFFFFFFF,
            cmd_line_ptr=command_line & 0xFFFFFFFF,
            setup_data=_setup_data(efi, information) if request.boot_info is BootInfo.SETUP_DATA else 0,
        ),
    )


def place_zero_page(efi: Environment, kernel: LoadedKernel, params: BootParams) -> int:
    """Write boot_params, zeroes where this kernel's setup header has already ended; return its address."""
    page = bytearray(params.pack())
    end = SETUP_HEADER_OFFSET + kernel.bzimage.header_size
    whole = SETUP_HEADER_OFFSET + type(params.hdr).SIZE
    page[end:whole] = bytes(max(0, whole - end))
    return place(efi, "boot_params", bytes(page))


def _e820(efi: Environment) -> tuple[E820Entry, ...]:
    """Return the machine's memory map in the boot protocol's terms; both count types as ACPI does."""
    entries = tuple(
        E820Entry(entry.addr, entry.size, E820Type(int(entry.type)))
        for entry in efi.start.memory_map
        if entry.size
    )
    if len(entries) > MAX_ENTRIES:
        raise UsageError(f"expected at most {MAX_ENTRIES} ranges in the memory map, found {len(entries)}")
    return entries


def _setup_data(efi: Environment, information: int) -> int:
    content = efi.physical.read(information, HypervisorInformation.SIZE)
    node = SetupData(next=0, type=SetupDataType(SETUP_DATA_TYPE), len=len(content))
    return place(efi, "setup_data", node.pack() + content)
