# SPDX-License-Identifier: GPL-2.0-or-later
"""What the user wants of a domain, and the domain that comes of it: pure, before anything is made."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pvefi.errors import UsageError
from pvefi.files import read_file
from pvefi.machines.machine import Hardware
from pvefi.machines.xen.xl_config import DomainConfig, Value, XlText, parse

__all__ = ["XenOptions", "XlWish", "read_xl_config"]

_CPUS_AT_MOST = 128  # xen/include/public/hvm/hvm_info_table.h, HVM_MAX_VCPUS
_MEBIBYTE = 1 << 20
_CONFIG_AT_MOST = 1 << 20  # bytes
_NOT_OURS = (
    ("builder", "says what type already says", "leave it out"),
    ("firmware", "boots by a firmware of its own", "leave it out, and give kernel"),
    ("firmware_override", "boots by a firmware of its own", "leave it out, and give kernel"),
    ("bootloader", "has a boot loader choose the kernel", "leave it out, and give kernel"),
    ("device_model", "is for domains of type hvm", "leave it out"),
    ("device_model_override", "is for domains of type hvm", "leave it out"),
    ("device_model_version", "is for domains of type hvm", "leave it out"),
    ("pvshim_path", "boots a hypervisor of its own in the domain", "leave it out"),
)
"""What a configuration may not hold: its name, what that means, and the way out."""
_PVEFIS = ("type", "kernel", "ramdisk", "cmdline", "root", "extra")
"""What has options of its own."""


@dataclass(frozen=True)
class XlWish:
    """What a user's configuration says of what to boot; None where it says nothing. Sizes are in bytes."""

    kernel: Path | None = None
    ramdisk: Path | None = None
    command_line: str | None = None
    memory_size: int | None = None
    cpus: int | None = None
    restarts: bool = True


@dataclass(frozen=True)
class XenOptions:
    """What xl is told besides the hardware: the user's configuration."""

    config: XlText | None = None
    root: Path = Path("/")

    def domain(self, kernel: Path, hardware: Hardware) -> DomainConfig:
        """Return a domain of type pvh that begins in `kernel`, an ELF file; UsageError for what cannot be.

        Each time it has another name and UUID, unless the user's configuration gives them.
        """
        if hardware.cpus > _CPUS_AT_MOST:
            raise UsageError(f"expected at most {_CPUS_AT_MOST} CPUs on Xen, found {hardware.cpus}", "--cpus")
        if hardware.memory_size % _MEBIBYTE:
            raise UsageError(
                f"expected memory in whole MiB on Xen, found {hardware.memory_size:#x} bytes",
                "round --memory",
            )
        config = self.config
        said = _wish(config) if config else XlWish()
        number = (config.string("uuid") if config else None) or str(uuid.uuid4())
        return DomainConfig(
            kernel=kernel,
            name=(config.string("name") if config else None) or f"pvefi-{number[:8]}",
            uuid=number,
            # Where the user's file says the same, what it says besides, such as maxmem, stays as well.
            memory_size=None if said.memory_size == hardware.memory_size else hardware.memory_size,
            cpus=None if said.cpus == hardware.cpus else hardware.cpus,
            command_line=hardware.command_line,
            disks=tuple(_disks(hardware.disks, config)),
            base=config.text if config else "",
        )

    def directly(
        self, kind: str, kernel: Path, ramdisk: Path | None, command_line: str, hardware: Hardware
    ) -> DomainConfig:
        """Return a domain of type `kind` in which xl itself starts the kernel."""
        domain = self.domain(kernel, hardware)
        return replace(domain, kind=kind, ramdisk=ramdisk, command_line=command_line)


def read_xl_config(path: Path | None, assignments: tuple[str, ...] = ()) -> tuple[XlText, XlWish]:
    """Read a user's configuration, with `assignments` behind it, one a line; or these alone.

    UsageError for what is none, or is not to be had together with EFI from pvefi.
    """
    where = path or Path("--xl-set")
    said = parse("\n".join(assignments), Path("--xl-set"))
    for name in _PVEFIS:
        if name in said.settings:
            raise UsageError(
                f"--xl-set: expected an assignment that pvefi does not make itself, found {name}"
            )
    text = _read(path) if path else ""
    config = parse("\n".join(filter(None, (text, *assignments))), where)
    for name, means, way_out in _NOT_OURS:
        if config.settings.get(name):
            raise UsageError(
                f"{where}: expected a domain that pvefi can boot, found {name}, which {means}", way_out
            )
    if (config.string("pvshim") or "0") not in ("0", ""):
        raise UsageError(f"{where}: expected a domain that pvefi can boot, found pvshim", "leave it out")
    kind = config.string("type")
    if path and kind != "pvh":
        found = f'"{kind}"' if kind is not None else "none, which means pv"
        way_out = "--entry xen-pv IMAGE boots a PV guest" if kind in (None, "pv") else 'type = "pvh"'
        raise UsageError(f'{path}: expected type "pvh", found {found}', way_out)
    return config, _wish(config)


def _wish(config: XlText) -> XlWish:
    memory = config.number("memory")
    return XlWish(
        kernel=_path(config.string("kernel")),
        ramdisk=_path(config.string("ramdisk")),
        command_line=_command_line(config),
        memory_size=None if memory is None else memory * _MEBIBYTE,
        cpus=config.number("vcpus"),
        restarts=(config.string("on_reboot") or "restart") == "restart",
    )


def _read(path: Path) -> str:
    data = read_file(path, "an xl configuration", less_than=_CONFIG_AT_MOST, way_out="--xl-config")
    return bytes(data).decode("utf-8", "surrogateescape")


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _command_line(config: XlText) -> str | None:
    """Return what xl makes the kernel's command line of: tools/xl/xl_parse.c, parse_cmdline."""
    whole, root, extra = (config.string(name) for name in ("cmdline", "root", "extra"))
    if whole is not None or (root is None and extra is None):
        return whole
    return " ".join(
        part for part in (f"root={root}" if root is not None else None, extra) if part is not None
    )


def _disks(disks: tuple[Path, ...], config: XlText | None) -> Iterator[str]:
    """Yield each file as a disk of xl's (xl-disk-configuration(5)), under names that the user's have not."""
    taken = set(re.findall(r"xvd([a-z])", _text(config.settings.get("disk", "")) if config else ""))
    free = [letter for letter in "abcdefghijklmnopqrstuvwxyz" if letter not in taken]
    if len(disks) > len(free):
        raise UsageError(f"expected at most {len(free)} disks, found {len(disks)}", "--disk")
    for letter, path in zip(free, disks, strict=False):
        kind = "qcow2" if path.suffix == ".qcow2" else "raw"
        # target= takes all that follows, commas too.
        yield f"format={kind}, vdev=xvd{letter}, access=rw, target={path.absolute()}"


def _text(value: Value) -> str:
    return value if isinstance(value, str) else " ".join(map(_text, value))
