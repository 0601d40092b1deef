# SPDX-License-Identifier: GPL-2.0-or-later
"""What the probe's initrd holds, and that its script is one that a shell takes."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from pvefi.image.initrd import initrd_parts
from pvefi.probe.cpio import regular_file
from pvefi.probe.initrd import (
    APPLETS,
    MODULE_GROUPS,
    build_initrd,
    built_in_names,
    init_script,
    script_files,
    with_files,
)
from pvefi.probe.modules import Module


def modules() -> dict[str, Module]:
    needs = {"efivarfs": (), "virtio_pci": ("virtio",), "virtio_mmio": (), "virtio_blk": ("virtio",)}
    made = {name: Module(name, needed, "6.1", name.encode()) for name, needed in needs.items()}
    return made | {"unused": Module("unused", (), "6.1", b"unused")}


def unpacked(tool: Callable[[str], str], data: bytes, folder: Path) -> dict[str, str]:
    """Return the small files of an initrd by name."""
    folder.mkdir(exist_ok=True)
    words = [tool("cpio"), "-id", "--quiet", "--no-preserve-owner", "init", "bin/busybox", "modules/*"]
    subprocess.run(words, input=data, cwd=folder, check=True)
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_modules_stand_in_their_order_and_no_others(tool: Callable[[str], str], tmp_path: Path) -> None:
    built_in = built_in_names("kernel/drivers/virtio/virtio.ko\n")
    files = unpacked(tool, build_initrd(b"busybox", modules(), built_in), tmp_path)
    assert files["modules/efivars.order"] == "efivarfs\n"
    assert files["modules/devices.order"] == "virtio_pci\nvirtio_mmio\nvirtio_blk\n"
    assert files["modules/virtio_pci.ko"] == "virtio_pci"
    assert files["bin/busybox"] == "busybox"
    assert "modules/unused.ko" not in files
    assert "modules/virtio.ko" not in files


def test_without_modules_the_groups_are_empty(tool: Callable[[str], str], tmp_path: Path) -> None:
    files = unpacked(tool, build_initrd(b"busybox", {}), tmp_path)
    assert {name: files[f"modules/{name}.order"] for name in MODULE_GROUPS} == dict.fromkeys(
        MODULE_GROUPS, ""
    )


def test_names_of_built_in_modules_are_as_the_kernel_spells_them() -> None:
    assert built_in_names("kernel/a/virtio-rng.ko\nkernel/b/efivarfs.ko\n") == {"virtio_rng", "efivarfs"}


def test_what_else_is_given_stands_in_it_too(tool: Callable[[str], str], tmp_path: Path) -> None:
    plain = build_initrd(b"busybox", {})
    more = build_initrd(b"busybox", {}, more=[regular_file("modules/program", b"program")])
    assert unpacked(tool, more, tmp_path)["modules/program"] == "program"
    assert unpacked(tool, plain, tmp_path / "plain").keys() == {
        *(f"modules/{name}.order" for name in MODULE_GROUPS),
        *("init", "bin/busybox"),
    }


def test_files_and_commands_stand_in_an_archive_behind_the_other() -> None:
    plain = build_initrd(b"busybox", {})
    files = script_files({"second": "echo 2", "first": "echo 1\nexit 1"}) | {"new/kernel": b"MZ"}
    assert files["script/001-first"] == b"echo 1\nexit 1\n"
    assert sorted(files) == ["new/kernel", "script/000-second", "script/001-first"]
    whole = with_files(plain, files)
    assert whole.startswith(plain)
    assert initrd_parts(whole) == ["cpio archive", "cpio archive"]


def test_a_shell_takes_the_script() -> None:
    subprocess.run(["sh", "-n"], input=init_script(), text=True, check=True)


def test_the_script_loads_only_groups_that_there_are() -> None:
    assert set(re.findall(r"^ +load (\w+)$", init_script(), re.MULTILINE)) == set(MODULE_GROUPS)


def test_no_program_is_linked_that_the_script_does_not_call() -> None:
    assert not [name for name in APPLETS if not re.search(rf"\b{name}\b", init_script())]


def test_every_word_of_the_script_is_explained_at_its_top() -> None:
    head, _, body = init_script().partition("\nwriter()")
    words = set(re.findall(r"^do_(\w+)\(\)", body, re.MULTILINE)) | {"facts", "hold", "shell", "panic"}
    explained = set(re.findall(r"^#   (\w+) ", head, re.MULTILINE))
    assert words <= explained


def test_the_marker_is_the_first_that_the_script_does() -> None:
    body = init_script().partition('\nif [ "$1" = writer ]')[2].partition("fi\n")[2].strip()
    assert body.splitlines()[0] == "echo 'PVEFI-PROBE up'"
