# SPDX-License-Identifier: GPL-2.0-or-later
"""The options by which `pvefi boot` is told what machine to run a guest on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from pvefi.cli.options import SIZE
from pvefi.machines import Machine
from pvefi.machines.choose import FIRMWARE, MACHINES, QemuWish, choose_machine, refuse_xens
from pvefi.machines.qemu.accelerator import ACCELERATORS
from pvefi.machines.qemu.command import MachineType
from pvefi.machines.xen.options import XenOptions, XlWish, read_xl_config

__all__ = ["MachineChoice", "machine_options"]


@dataclass(frozen=True)
class MachineChoice:
    """What the user said of the machine, option by option; None or empty where nothing was said."""

    machine: str
    memory_size: int | None
    cpus: int | None
    disks: tuple[Path, ...]
    no_reboot: bool
    deterministic: bool
    keep_guest: bool
    firmware: str
    qemu: str | None
    qemu_machine: str | None
    accel: str
    cpu: str
    qemu_arguments: tuple[str, ...]
    xl_config: Path | None
    xl_assignments: tuple[str, ...]

    @property
    def on_xen(self) -> bool:
        """Whether the guest is to run on Xen."""
        return self.machine == "xen" or (
            self.machine == "auto" and bool(self.xl_config or self.xl_assignments)
        )

    def xen(self) -> tuple[XenOptions | None, XlWish]:
        """Read the xl configuration; return None and an empty wish where there is nothing to read."""
        if self.xl_config is None and not self.xl_assignments:
            return None, XlWish()
        refuse_xens(self.machine)  # whatever its file says
        config, wish = read_xl_config(self.xl_config, self.xl_assignments)
        return XenOptions(config), wish

    @property
    def by_ovmf(self) -> bool:
        """Whether OVMF is to boot the image."""
        return self.firmware == "ovmf"

    def machine_for(self, *, watched: bool, foreign: bool, xen: XenOptions | None = None) -> Machine:
        """Return the machine; `watched` and `foreign` are QemuWish's, `xen` is what `xen` returned."""
        wish = QemuWish(
            program=self.qemu,
            machine_type=MachineType(self.qemu_machine) if self.qemu_machine else None,
            accelerator=self.accel,
            cpu=self.cpu,
            firmware="" if self.by_ovmf else self.firmware,
            foreign=foreign,
            arguments=self.qemu_arguments,
            exact=self.deterministic,
            watched=watched,
            outlives=self.keep_guest,
        )
        return choose_machine(self.machine, wish, xen)


_OPTIONS = (
    click.option(
        "--machine",
        type=click.Choice(MACHINES),
        default="auto",
        show_default=True,
        help="Where the guest runs; auto: on Xen with --xl-config, else on QEMU where there is one.",
    ),
    click.option("--memory", "memory_size", type=SIZE, show_default="512M", help="RAM, with K, M or G."),
    click.option("--cpus", type=click.IntRange(1, 255), show_default="1", help="How many CPUs."),
    click.option(
        "--disk",
        "disks",
        multiple=True,
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        metavar="FILE",
        help="A disk (virtio-blk, on Xen xvda): raw contents, or QCOW2 by the name .qcow2; repeatable.",
    ),
    click.option("--no-reboot", is_flag=True, help="End when the guest resets, instead of starting it anew."),
    click.option(
        "--deterministic",
        is_flag=True,
        help="Make every run like the other: time by instructions, a fixed clock, seed 0 unless given.",
    ),
    click.option(
        "--keep-guest",
        is_flag=True,
        help="Let a guest that is past ExitBootServices live on when pvefi ends.",
    ),
    click.option(
        "--firmware",
        type=click.Choice(FIRMWARE),
        default="auto",
        show_default=True,
        help="What QEMU runs before the trampoline, auto: the quickest; with ovmf OVMF boots the image.",
    ),
    click.option("--qemu", metavar="FILE", envvar="PVEFI_QEMU", help="The QEMU to run."),
    click.option(
        "--qemu-machine",
        type=click.Choice([kind.value for kind in MachineType]),
        help="QEMU's machine type; q35 when not given.",
    ),
    click.option(
        "--accel",
        type=click.Choice(ACCELERATORS),
        default="auto",
        show_default=True,
        help="How QEMU executes the guest; auto: KVM where it runs and is faster, else TCG.",
    ),
    click.option("--cpu", default="", metavar="MODEL", help="QEMU's CPU model."),
    click.option(
        "--qemu-arg",
        "qemu_arguments",
        multiple=True,
        metavar="WORD",
        help="One more word for QEMU; repeatable.",
    ),
    click.option(
        "--xl-config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="A domain's configuration, as xl takes it: its kernel is booted on Xen, with its devices.",
    ),
    click.option(
        "--xl-set",
        "xl_assignments",
        multiple=True,
        metavar="NAME=VALUE",
        help="One more assignment for the domain's xl configuration; repeatable.",
    ),
)
_NAMES = tuple(MachineChoice.__dataclass_fields__)


def machine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command; it gets them as one MachineChoice, its parameter `choice`."""

    @functools.wraps(command)
    def gathered(**values: Any) -> Any:  # noqa: ANN401  options have the types that click gave them
        choice = MachineChoice(**{name: values.pop(name) for name in _NAMES})
        return command(choice=choice, **values)

    decorated: Callable[..., Any] = gathered
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated
