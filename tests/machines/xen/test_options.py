# SPDX-License-Identifier: GPL-2.0-or-later
"""What of a user's configuration is booted, what goes to xl, and what cannot be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from pvefi.errors import UsageError
from pvefi.machines.machine import Hardware
from pvefi.machines.xen.options import XenOptions, XlWish, read_xl_config
from pvefi.machines.xen.xl_config import parse

PVH = 'type = "pvh"\n'
MIB = 1 << 20
KERNEL = Path("/trampoline.elf")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "guest.cfg"


def wish(file: Path, text: str, *assignments: str) -> XlWish:
    file.write_text(text)
    return read_xl_config(file, assignments)[1]


def test_what_is_to_be_booted_is_read(file: Path) -> None:
    text = PVH + 'kernel="/boot/k"\nramdisk="/boot/i"\nmemory=64\nvcpus=3\ncmdline="quiet"\n'
    assert wish(file, text) == XlWish(Path("/boot/k"), Path("/boot/i"), "quiet", 64 * MIB, 3, restarts=True)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", None),
        ('extra = "a b"', "a b"),
        ('root = "/dev/xvda1"', "root=/dev/xvda1"),
        ('extra = "a"\nroot = "/dev/xvda1"', "root=/dev/xvda1 a"),
        ('extra = "a"\ncmdline = "b"', "b"),
        ('cmdline = ""', ""),
    ],
)
def test_the_command_line_is_the_one_that_xl_would_make(file: Path, text: str, line: str | None) -> None:
    assert wish(file, PVH + text).command_line == line


@pytest.mark.parametrize(("action", "restarts"), [("restart", True), ("destroy", False), ("preserve", False)])
def test_a_reset_does_what_the_configuration_says(file: Path, action: str, restarts: bool) -> None:
    assert wish(file, f'{PVH}on_reboot = "{action}"').restarts is restarts


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('name = "a"', "found none, which means pv"),
        ('type = "pv"', "found .pv."),
        ('type = "hvm"', "found .hvm."),
        ('builder = "hvm"\ntype = "pvh"', "found builder"),
        (PVH + 'firmware = "pvgrub64"', "found firmware, which boots by a firmware of its own"),
        (PVH + 'bootloader = "pygrub"', "found bootloader"),
        (PVH + 'device_model_version = "qemu-xen"', "found device_model_version"),
        (PVH + "pvshim = 1", "found pvshim"),
        (PVH + "kernel = [ 1 ]", "expected kernel to be one value, found a list"),
        (PVH + 'memory = "much"', "expected memory to be a number, found 'much'"),
    ],
)
def test_what_goes_with_no_efi_of_pvefi_s_is_told(file: Path, text: str, found: str) -> None:
    with pytest.raises(UsageError, match=f"guest.cfg: .*{found}") as told:
        wish(file, text)
    assert "\n" not in told.value.message


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.cfg"):
        read_xl_config(tmp_path / "none.cfg")


def test_assignments_come_behind_the_file(file: Path) -> None:
    file.write_text(f'{PVH}name = "a"\ntsc_mode = "default"')
    config, _ = read_xl_config(file, ('tsc_mode = "native"',))
    assert config.string("tsc_mode") == "native"
    assert config.string("name") == "a"


def test_assignments_need_no_file() -> None:
    config, found = read_xl_config(None, ('tsc_mode = "native"', "cpus = '0'"))
    assert (config.string("tsc_mode"), found) == ("native", XlWish())


@pytest.mark.parametrize("name", ["kernel", "type", "cmdline"])
def test_an_assignment_of_what_has_an_option_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"pvefi does not make itself, found {name}"):
        read_xl_config(None, (f"{name} = '1'",))


def test_an_assignment_that_is_none_is_told() -> None:
    with pytest.raises(UsageError, match="--xl-set:1: expected a string in quotes"):
        read_xl_config(None, ("tsc_mode=native",))


def test_a_domain_without_a_name_gets_one_of_its_own() -> None:
    options = XenOptions()
    first, second = (options.domain(KERNEL, Hardware(64 * MIB)) for _ in range(2))
    assert first.name == f"pvefi-{first.uuid[:8]}"
    assert first.name != second.name


def test_a_domain_keeps_the_name_and_the_uuid_that_it_is_given() -> None:
    config = parse('name = "mine"\nuuid = "my-uuid"', Path("x"))
    made = XenOptions(config).domain(KERNEL, Hardware(64 * MIB))
    assert (made.name, made.uuid) == ("mine", "my-uuid")


def test_what_a_file_says_of_memory_and_cpus_stays_whole_unless_something_else_is_asked_for() -> None:
    options = XenOptions(parse("memory = 64\nmaxmem = 128\nvcpus = 2\nmaxvcpus = 4", Path("x")))
    made = options.domain(KERNEL, Hardware(64 * MIB, cpus=2))
    assert (made.memory_size, made.cpus) == (None, None)
    made = options.domain(KERNEL, Hardware(96 * MIB, cpus=1))
    assert (made.memory_size, made.cpus) == (96 * MIB, 1)


def test_files_become_disks_that_no_other_disk_is() -> None:
    config = parse('disk = [ "/dev/vg/a,raw,xvda,rw" ]', Path("x"))
    hardware = Hardware(64 * MIB, disks=(Path("/a,b.img"), Path("/c.qcow2")))
    assert XenOptions(config).domain(KERNEL, hardware).disks == (
        "format=raw, vdev=xvdb, access=rw, target=/a,b.img",
        "format=qcow2, vdev=xvdc, access=rw, target=/c.qcow2",
    )


@pytest.mark.parametrize(
    ("hardware", "expected"),
    [
        (Hardware(64 * MIB + 4096), "expected memory in whole MiB on Xen"),
        (Hardware(64 * MIB, cpus=129), "expected at most 128 CPUs"),
        (Hardware(64 * MIB, disks=(Path("/x"),) * 27), "expected at most 26 disks"),
    ],
)
def test_what_xen_has_not_is_told(hardware: Hardware, expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        XenOptions().domain(KERNEL, hardware)


def test_a_kernel_that_xl_starts_has_its_own_ramdisk_and_command_line() -> None:
    made = XenOptions().directly("pv", Path("/k"), Path("/i"), "quiet", Hardware(64 * MIB))
    assert (made.kind, made.kernel, made.ramdisk, made.command_line) == (
        "pv",
        Path("/k"),
        Path("/i"),
        "quiet",
    )
