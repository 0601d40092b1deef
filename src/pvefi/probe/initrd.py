# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds the probe's initrd: busybox, the script `init` of this folder, modules of the kernel it is for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path

from pvefi.probe.cpio import (
    Entry,
    archive,
    character_device,
    directory,
    regular_file,
    symbolic_link,
    with_folders,
)
from pvefi.probe.modules import Module, load_order, read_module

__all__ = [
    "APPLETS",
    "MODULE_GROUPS",
    "build_initrd",
    "built_in_names",
    "init_script",
    "kernel_modules",
    "script_files",
    "with_files",
]

MODULE_GROUPS: Mapping[str, tuple[str, ...]] = {
    "efivars": ("efivarfs",),
    "devices": ("virtio_pci", "virtio_mmio", "virtio_blk"),
}
"""What `init` loads when a word of its command line needs it. The script knows the groups' names."""
APPLETS = (
    *("awk", "base64", "cat", "cmp", "crc32", "cttyhack", "date", "dd", "dmesg", "grep", "halt"),
    *("head", "insmod", "ls", "mount", "poweroff", "reboot", "rm", "setsid", "sh", "sleep", "stty"),
    *("taskset", "tr"),
)
"""The programs that `init` calls by name."""
_FOLDERS = ("bin", "dev", "modules", "proc", "sys", "tmp")
_DEVICES = {"console": (5, 1), "kmsg": (1, 11), "null": (1, 3)}
"""Linux Documentation/admin-guide/devices.txt."""
_MODULE_SUFFIXES = (".ko", ".ko.xz")


def init_script() -> str:
    """Return the script that the kernel starts."""
    return files("pvefi.probe").joinpath("init").read_text(encoding="utf-8")


def kernel_modules(paths: Iterable[Path]) -> dict[str, Module]:
    """Return the modules among `paths` by name; ImageError for a file that only calls itself one."""
    found = (read_module(path, path.read_bytes()) for path in paths if path.name.endswith(_MODULE_SUFFIXES))
    return {module.name: module for module in found}


def built_in_names(listing: str) -> frozenset[str]:
    """Return the names of the modules in the text of a modules.builtin, which has a path a line."""
    names = (Path(line).name.removesuffix(".ko") for line in listing.split())
    return frozenset(name.replace("-", "_") for name in names)


def build_initrd(
    busybox: bytes,
    modules: Mapping[str, Module],
    built_in: frozenset[str] = frozenset(),
    more: Iterable[Entry] = (),
) -> bytes:
    """Return the initrd, with `more` in it besides.

    Without `modules` it boots under any kernel, and its groups of modules are empty.
    """
    orders = {
        group: load_order(wanted, modules, built_in) if modules else ()
        for group, wanted in MODULE_GROUPS.items()
    }
    used = sorted({name for order in orders.values() for name in order})
    entries: list[Entry] = [
        *(directory(name) for name in _FOLDERS),
        regular_file("bin/busybox", busybox, executable=True),
        *(symbolic_link(f"bin/{name}", "busybox") for name in APPLETS),
        *(character_device(f"dev/{name}", *numbers) for name, numbers in _DEVICES.items()),
        regular_file("init", init_script().encode(), executable=True),
        *(regular_file(f"modules/{name}.ko", modules[name].data) for name in used),
        *(
            regular_file(f"modules/{group}.order", "".join(f"{name}\n" for name in order).encode())
            for group, order in orders.items()
        ),
        *more,
    ]
    return archive(entries)


def with_files(initrd: bytes, given: Mapping[str, bytes]) -> bytes:
    """Return `initrd` with these files besides, each at its path, in an archive of their own behind it.

    The kernel unpacks one archive after the other (Linux
    Documentation/driver-api/early-userspace/buffer-format.rst).
    """
    return initrd + archive(with_folders(regular_file(path, data) for path, data in given.items()))


def script_files(commands: Mapping[str, str]) -> dict[str, bytes]:
    """Return the files of which the word `script` runs one after the other: shell text by its name."""
    return {
        f"script/{number:03d}-{name}": f"{text}\n".encode()
        for number, (name, text) in enumerate(commands.items())
    }
