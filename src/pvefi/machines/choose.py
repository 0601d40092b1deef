# SPDX-License-Identifier: GPL-2.0-or-later
"""Which machines there are, and which one `auto` means here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from pvefi.errors import MachineError, UsageError
from pvefi.machines.embedded import EmbeddedMachine
from pvefi.machines.machine import Machine
from pvefi.machines.qemu.accelerator import choose_accelerator
from pvefi.machines.qemu.command import MachineType, QemuOptions
from pvefi.machines.qemu.installation import find_qemu, require_machine_type
from pvefi.machines.qemu.machine import QemuMachine
from pvefi.machines.xen.host import require_control_domain, xen_version
from pvefi.machines.xen.machine import XenMachine
from pvefi.machines.xen.options import XenOptions
from pvefi.machines.xen.xl import find_xl

__all__ = ["FIRMWARE", "MACHINES", "QemuWish", "choose_machine", "refuse_xens"]

FIRMWARE = ("auto", "qboot", "seabios", "ovmf")
"""What `--firmware` takes."""

MACHINES = ("auto", "embedded", "qemu", "xen")
"""What `--machine` takes."""


@dataclass(frozen=True)
class QemuWish:
    """What the user wants of QEMU; empty or None where nothing was said.

    With `foreign` it is to boot the image by its own means, with `watched` watchpoints are to be set.
    """

    program: str | None = None
    machine_type: MachineType | None = None
    accelerator: str = "auto"
    cpu: str = ""
    firmware: str = "auto"
    foreign: bool = False
    arguments: tuple[str, ...] = ()
    exact: bool = False
    watched: bool = False
    outlives: bool = False

    @property
    def said(self) -> bool:
        """Whether there is anything that only QEMU can do."""
        return replace(self, watched=False) != QemuWish()

    @property
    def qemus(self) -> bool:
        """Whether there is anything that Xen cannot do, and only QEMU can."""
        return replace(self, watched=False, foreign=False, outlives=False) != QemuWish()


def choose_machine(name: str, wish: QemuWish | None = None, xen: XenOptions | None = None) -> Machine:
    """Return the machine called `name`, one of MACHINES.

    `auto` is Xen where something is wanted of it, `xen`; QEMU where there is one, or something is wanted that
    only QEMU can do; else the embedded machine. MachineError when QEMU or Xen is wanted and cannot be used,
    UsageError when a machine is asked for what only another can do.
    """
    wish = wish or QemuWish()
    if name == "xen" or (name == "auto" and xen is not None):
        return _xen(wish, xen or XenOptions())
    if xen is not None:
        refuse_xens(name)
    if name == "embedded":
        if wish.said:
            raise UsageError("expected no option of QEMU's, found one with --machine embedded")
        return EmbeddedMachine()
    if name == "auto" and not wish.said:
        try:
            return _qemu(wish)
        except MachineError:
            return EmbeddedMachine()
    return _qemu(wish)


def refuse_xens(name: str) -> None:
    """Refuse an option of Xen's unless the machine called `name` may be Xen; UsageError."""
    if name not in ("auto", "xen"):
        raise UsageError(f"expected no option of Xen's, found one with --machine {name}", "--machine xen")


def _xen(wish: QemuWish, options: XenOptions) -> XenMachine:
    if wish.qemus:
        raise UsageError("expected no option of QEMU's, found one with --machine xen")
    if wish.outlives:
        raise UsageError(
            "--keep-guest expects a guest that can go on without pvefi, found one on Xen",
            "pvefi serve keeps it",
        )
    if wish.watched:
        raise UsageError(
            "expected a machine that stops at the hand-off, found xen", "--until userspace or --until exit"
        )
    require_control_domain(options.root)
    find_xl()
    version = xen_version(options.root)
    return XenMachine(options, f"Xen {version.text}", extra_version=version.extra)


def _qemu(wish: QemuWish) -> QemuMachine:
    qemu = find_qemu(wish.program)
    machine_type = wish.machine_type or MachineType.Q35
    if wish.machine_type is not None:
        require_machine_type(qemu, machine_type)
    # KVM has four breakpoints, and KASLR hundreds of places where the kernel proper may begin.
    tcg = wish.exact or (wish.watched and wish.accelerator == "auto")
    accelerator = choose_accelerator("tcg" if tcg else wish.accelerator, qemu, machine_type)
    options = QemuOptions(
        program=str(qemu.program),
        machine_type=machine_type,
        accelerator=accelerator.name,
        cpu=wish.cpu or accelerator.cpu,
        firmware=_firmware(wish.firmware, qemu.program, machine_type),
        exact=wish.exact,
        arguments=wish.arguments,
    )
    how = "TCG, time counted in instructions" if wish.exact else "TCG" if tcg else accelerator.reason
    about = f"QEMU {qemu.version}, {machine_type}, {how}"
    return QemuMachine(options, about, outlives=wish.outlives)


def _firmware(wish: str, program: Path, machine_type: MachineType) -> str:
    """Return the name of what runs first, empty for QEMU's default.

    Unless something else is asked for that is qboot, where it is installed: it takes half of SeaBIOS's time.
    microvm starts with it by itself. QEMU looks a bare name up in its own folders.
    """
    if wish != "auto":
        return {"qboot": "qboot.rom", "seabios": "bios-256k.bin"}.get(wish, wish)
    folders = (program.parent.parent / "share" / "qemu", Path("/usr/share/qemu"))
    has_it = any((folder / "qboot.rom").is_file() for folder in folders)
    return "qboot.rom" if has_it and machine_type is not MachineType.MICROVM else ""
