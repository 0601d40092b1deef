# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's command line follows from the hardware and the options."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from pvefi.guest.mailbox import DOORBELL_PORT
from pvefi.machines import ForeignBoot, ForeignWay, Hardware
from pvefi.machines.qemu.command import BLOCKING_PORT, Descriptors, MachineType, QemuOptions, qemu_command

OPTIONS = QemuOptions("/opt/qemu")
PLAIN = Descriptors(ram=10, kernel=11, variables=12, console=13, monitor=14, log=15, doorbell=16)


def command(
    hardware: Hardware | None = None,
    options: QemuOptions = OPTIONS,
    descriptors: Descriptors = PLAIN,
    foreign: ForeignBoot | None = None,
) -> list[str]:
    return qemu_command(options, hardware or Hardware(64 << 20), descriptors, foreign)


def values(words: list[str], option: str) -> list[str]:
    return [value for name, value in itertools.pairwise(words) if name == option]


def test_all_that_is_shared_is_an_inherited_descriptor() -> None:
    words = command()
    assert values(words, "-kernel") == ["/proc/self/fd/11"]
    assert values(words, "-object") == [
        "memory-backend-file,id=ram,size=67108864,mem-path=/proc/self/fd/10,share=on"
    ]
    assert values(words, "-D") == ["/proc/self/fd/15"]
    assert values(words, "-chardev") == [
        "socket,fd=13,id=console",
        "socket,id=monitor,fd=14",
        "socket,id=doorbell,fd=16",
    ]


def test_nothing_of_the_users_configuration_and_no_network_gets_in() -> None:
    assert {"-nodefaults", "-no-user-config"} <= set(command())


def test_memory_is_told_in_whole_pages_and_cpus_as_they_are() -> None:
    words = command(Hardware((64 << 20) + 4096, cpus=3))
    assert values(words, "-m") == ["65540k"]
    assert values(words, "-smp") == ["3"]


def test_each_doorbell_has_its_port() -> None:
    both = command(descriptors=Descriptors(10, 11, 12, 13, 14, 15, doorbell=16, blocking=17))
    assert values(both, "-device") == [
        f"isa-debugcon,iobase={DOORBELL_PORT:#x},chardev=doorbell",
        f"isa-debugcon,iobase={BLOCKING_PORT:#x},chardev=blocking",
    ]
    assert values(command(descriptors=Descriptors(10, 11, 12, 13, 14, 15)), "-device") == []


def test_a_debugger_listens_only_where_it_was_asked_for() -> None:
    assert "-gdb" not in command()
    watched = command(descriptors=Descriptors(10, 11, 12, 13, 14, 15, 16, debugger=18))
    assert values(watched, "-gdb") == ["chardev:debugger"]


@pytest.mark.parametrize(
    ("machine_type", "device"),
    [
        (MachineType.Q35, "virtio-blk-pci"),
        (MachineType.PC, "virtio-blk-pci"),
        (MachineType.MICROVM, "virtio-blk-device"),
    ],
)
def test_disks_are_virtio_and_their_format_goes_by_the_name(machine_type: MachineType, device: str) -> None:
    disks = (Path("/d/one"), Path("/d/two.qcow2"), Path("/d/a,b"))
    words = command(Hardware(64 << 20, disks=disks), QemuOptions("/opt/qemu", machine_type))
    assert values(words, "-drive") == [
        "if=none,id=disk0,format=raw,file=/d/one",
        "if=none,id=disk1,format=qcow2,file=/d/two.qcow2",
        "if=none,id=disk2,format=raw,file=/d/a,,b",
    ]
    assert values(words, "-device")[1:] == [f"{device},drive=disk{number}" for number in range(3)]


def test_a_disk_is_found_from_anywhere() -> None:
    words = command(Hardware(64 << 20, disks=(Path("here.img"),)))
    assert values(words, "-drive") == [f"if=none,id=disk0,format=raw,file={Path.cwd() / 'here.img'}"]


@pytest.mark.parametrize("restarts", [True, False])
def test_a_guest_that_is_not_to_start_anew_is_not_rebooted(restarts: bool) -> None:
    hardware = Hardware(64 << 20, restarts=restarts)
    assert "-no-reboot" not in command(hardware)  # pvefi sees BOOT again
    foreign = command(hardware, foreign=ForeignBoot(ForeignWay.LINUX, b"", None, ""))
    assert ("-no-reboot" in foreign) is not restarts


def test_an_exact_run_counts_instructions_and_starts_at_a_fixed_time() -> None:
    words = command(options=QemuOptions("/opt/qemu", exact=True))
    assert values(words, "-icount") == ["shift=0,sleep=off"]
    assert values(words, "-rtc") == ["base=2026-01-01T00:00:00,clock=vm"]
    assert "-icount" not in command()


@pytest.mark.parametrize(("seed", "told"), [(7, "7"), (1 << 32, "0"), (-1, "4294967295")])
def test_a_seed_is_what_qemu_takes(seed: int, told: str) -> None:
    assert values(command(Hardware(64 << 20, seed=seed)), "-seed") == [told]


def test_what_the_user_adds_comes_last() -> None:
    words = command(options=QemuOptions("/opt/qemu", arguments=("-device", "virtio-net-pci")))
    assert words[-2:] == ["-device", "virtio-net-pci"]


def test_a_command_line_goes_with_the_trampoline_where_there_is_one() -> None:
    assert "-append" not in command()
    assert values(command(Hardware(64 << 20, "quiet x=1,2")), "-append") == ["quiet x=1,2"]


def test_a_foreign_kernel_has_its_own_command_line_and_initrd() -> None:
    foreign = ForeignBoot(ForeignWay.LINUX, b"", Path("/i/initrd"), "quiet")
    words = command(foreign=foreign)
    assert values(words, "-append") == ["quiet"]
    assert values(words, "-initrd") == ["/i/initrd"]
