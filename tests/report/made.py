# SPDX-License-Identifier: GPL-2.0-or-later
"""Made-up but realistic results of boots, as a Debian kernel in 512 MiB gives them."""

from __future__ import annotations

from dataclasses import replace

from pvefi.spec.linux.boot_params import EFI64_LOADER_SIGNATURE, BootParams, EfiInfo
from pvefi.spec.linux.e820 import MAX_ENTRIES, E820Entry, E820Type
from pvefi.spec.linux.screen_info import VideoType
from pvefi.spec.linux.setup_header import BOOT_FLAG, HEADER_MAGIC, LoadFlag, XLoadFlag
from pvefi.spec.uefi.guids import (
    ACPI_20_TABLE,
    LINUX_RANDOM_SEED,
    PVEFI_HYPERVISOR_INFORMATION,
    RNG_PROTOCOL,
    TCG2_PROTOCOL,
)
from pvefi.spec.uefi.memory import MemoryAttribute, MemoryDescriptor, MemoryType
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import OUTSIDE_PROFILE, CallEvent
from pvefi.verdict import (
    BootResult,
    ConfigurationTable,
    Goal,
    Handoff,
    Milestone,
    Outcome,
    Proof,
    SegmentMapping,
    Verdict,
)
from tests.trace.made import allocate_pages, call

WRITE_BACK = MemoryAttribute.UC | MemoryAttribute.WC | MemoryAttribute.WT | MemoryAttribute.WB
RUNTIME = WRITE_BACK | MemoryAttribute.RUNTIME
STARTUP_64 = bytes.fromhex("488d25513f6001488d3df2ffffff56e8f20600005e6a10488d0503000000 5048cb e8")


def descriptor(kind: MemoryType, start: int, end: int, attribute: int = WRITE_BACK) -> MemoryDescriptor:
    return MemoryDescriptor(kind, 0, start, 0, (end - start) >> 12, attribute)


def e820(kind: E820Type, start: int, end: int) -> E820Entry:
    return E820Entry(start, end - start, kind)


EFI_MAP = (
    descriptor(MemoryType.RESERVED, 0, 0x1000),
    descriptor(MemoryType.CONVENTIONAL, 0x1000, 0xA0000),
    descriptor(MemoryType.BOOT_SERVICES_DATA, 0x100000, 0x200000),
    descriptor(MemoryType.CONVENTIONAL, 0x200000, 0x1000000),
    descriptor(MemoryType.LOADER_DATA, 0x1000000, 0x4000000),
    descriptor(MemoryType.CONVENTIONAL, 0x4000000, 0x1E000000),
    descriptor(MemoryType.LOADER_CODE, 0x1E000000, 0x1F000000),
    descriptor(MemoryType.RUNTIME_SERVICES_CODE, 0x1F000000, 0x1F001000, RUNTIME),
    descriptor(MemoryType.RUNTIME_SERVICES_DATA, 0x1F001000, 0x1F010000, RUNTIME),
    descriptor(MemoryType.CONVENTIONAL, 0x1F010000, 0x1FFFE000),
    descriptor(MemoryType.ACPI_RECLAIM, 0x1FFFE000, 0x20000000),
    descriptor(MemoryType.RESERVED, 0xFD00000000, 0x10000000000, MemoryAttribute.UC),
)
E820_MAP = (
    e820(E820Type.RESERVED, 0, 0x1000),
    e820(E820Type.RAM, 0x1000, 0xA0000),
    e820(E820Type.RAM, 0x100000, 0x1F000000),
    e820(E820Type.RESERVED, 0x1F000000, 0x1F010000),
    e820(E820Type.RAM, 0x1F010000, 0x1FFFE000),
    e820(E820Type.ACPI, 0x1FFFE000, 0x20000000),
    e820(E820Type.RESERVED, 0xFD00000000, 0x10000000000),
)


def boot_params(entries: tuple[E820Entry, ...] = E820_MAP, **header: int) -> BootParams:
    zero = BootParams.unpack(bytes(BootParams.SIZE))
    hdr = replace(
        zero.hdr,
        setup_sects=0x27,
        boot_flag=BOOT_FLAG,
        header=HEADER_MAGIC,
        version=0x20F,
        vid_mode=0xFFFF,
        type_of_loader=0x21,
        loadflags=LoadFlag.LOADED_HIGH | LoadFlag.KASLR_FLAG | LoadFlag.CAN_USE_HEAP,
        xloadflags=XLoadFlag.XLF_KERNEL_64 | XLoadFlag.XLF_EFI_HANDOVER_64,
        ramdisk_image=0x1D000000,
        ramdisk_size=0x100000,
        cmd_line_ptr=0x1DFFF000,
        kernel_alignment=0x200000,
        min_alignment=21,
        init_size=0x2F3C000,
        pref_address=0x1000000,
    )
    padding = (E820Entry(0, 0, E820Type(0)),) * (MAX_ENTRIES - len(entries))
    return replace(
        zero,
        screen_info=replace(zero.screen_info, orig_video_is_vga=VideoType.EFI, lfb_width=1024),
        efi_info=EfiInfo(EFI64_LOADER_SIGNATURE, 0x1F5E1018, 48, 1, 0x1DFFE018, 12 * 48, 0, 0),
        acpi_rsdp_addr=0x1FFFE014,
        e820_entries=len(entries),
        e820_table=entries + padding,
        hdr=replace(hdr, **header),
    )


def handoff(**fields: object) -> Handoff:
    names = [
        "rax",
        "rbx",
        "rcx",
        "rdx",
        "rsi",
        "rdi",
        "rbp",
        "rsp",
        "r8",
        "r9",
        "r10",
        "r11",
        "r12",
        "r13",
        "r14",
        "r15",
        "rip",
    ]
    registers = {name: 0x1000 * at for at, name in enumerate(names)} | {"rip": 0x4C00000, "rsi": 0x1DFFD000}
    registers |= {"rflags": 0x46, "cr0": 0x80000033, "cr3": 0x1DFF0000, "cr4": 0x20, "efer": 0xD00}
    made = Handoff(
        decompressor="bypassed",
        kernel_start="startup_64",
        kernel_entry=0x4C00000,
        proof=Proof(0x4C00000, 0x200000, STARTUP_64, STARTUP_64, 0x1000000, 0),
        registers=registers,
        boot_params_address=0x1DFFD000,
        boot_params=boot_params().pack(),
        command_line="console=ttyS0 root=/dev/vda1 quiet",
        initrd_address=0x1D000000,
        initrd_size=0x100000,
        initrd_sha256="30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58",
        memory_map=EFI_MAP,
        configuration_tables=(
            ConfigurationTable(ACPI_20_TABLE, 0x1FFFE014),
            ConfigurationTable(PVEFI_HYPERVISOR_INFORMATION, 0x1F00F000),
            ConfigurationTable(LINUX_RANDOM_SEED, 0x1DFFC018),
        ),
        mapping=(
            SegmentMapping(0x4C00000, 0x1800000, "r-x", *(4 * (0x1800000,))),
            SegmentMapping(0x6400000, 0x600000, "rw-", 0x600000, 0x600000, 0, 0),
        ),
    )
    return replace(made, **fields)  # type: ignore[arg-type]  # the fields' types differ


CALLS: tuple[CallEvent, ...] = (
    call(1, "HandleProtocol", host_us=17.4, instructions=2_100),
    replace(allocate_pages(), index=2, instructions=3_000),
    call(
        3,
        "LocateProtocol",
        EfiStatus.NOT_FOUND,
        arguments=(("Protocol", TCG2_PROTOCOL),),
        why=OUTSIDE_PROFILE,
        instructions=4_000,
    ),
    call(
        4,
        "LocateProtocol",
        EfiStatus.NOT_FOUND,
        arguments=(("Protocol", RNG_PROTOCOL),),
        why="no handle has it",
        instructions=4_200,
    ),
    call(5, "GetMemoryMap", EfiStatus.BUFFER_TOO_SMALL, why="576 bytes are needed", instructions=96_500_000),
    call(6, "ExitBootServices", host_us=31.0, instructions=96_600_000),
)


def result(
    outcome: Outcome = Outcome.HANDOFF,
    message: str = "the kernel proper got control, 2.61 s after the trampoline",
    status: EfiStatus | None = None,
    **fields: object,
) -> BootResult:
    made = BootResult(
        image="/boot/vmlinuz-6.1.0-32-cloud-amd64",
        image_sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        machine="embedded",
        machine_about="unicorn 2.1.4",
        entry="efi",
        profile="linux",
        memory_size=512 << 20,
        cpus=1,
        command_line="console=ttyS0",
        initrd="",
        variables="",
        esp="",
        boot_info="table",
        seed=1,
        goal=Goal.HANDOFF,
        verdict=Verdict(outcome, message, status),
        handoff=handoff() if outcome is Outcome.HANDOFF else None,
        calls=CALLS,
        calls_made=len(CALLS),
        seconds=2.612,
        milestones={Milestone.IMAGE: 0.051, Milestone.HANDOFF: 2.61},
        restarts=0,
        host_seconds=0.1203,
        instructions=97_116_877,
        instructions_to_image=1_812,
    )
    return replace(made, **fields)  # type: ignore[arg-type]  # the fields' types differ
