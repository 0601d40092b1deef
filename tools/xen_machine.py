# SPDX-License-Identifier: GPL-2.0-or-later
"""The QEMU that has the tests' Xen in it, and what this side is connected to it by."""

from __future__ import annotations

import contextlib
import shlex
import socket
import subprocess
import tempfile
from pathlib import Path

from pvefi.machines.qemu.process import dies_with_parent
from pvefi.machines.qemu.qmp import Qmp
from xen_image import Dom0Image

__all__ = ["CPU", "EAGER_FPU", "MEMORY", "Dom0Error", "Machine", "command"]

MEMORY = 4096
"""MiB of the machine: 1,024 for dom0, the rest for Xen and the domUs. What is unused costs the host none."""
EAGER_FPU = "spec-ctrl=eager-fpu"
"""Not Xen's lazy switching of FPU registers, its default on AMD: in QEMU's emulated SVM, programs in a dom0
beside guests died of registers that were not theirs, and that is suspected."""
XEN_LINE = (
    f"console=com1 com1=115200 dom0_mem=1024M,max:1024M noreboot bootscrub=0 guest_loglvl=all {EAGER_FPU}"
)
KERNEL_LINE = "console=hvc0 quiet panic=1"
CPU = "max,-smap"
"""Xen 4.17 dies under QEMU 7.2's SMAP when it emulates an instruction of a guest."""
DEVICES = (
    "virtio-serial",
    "virtserialport,chardev=jobs,name=pvefi.jobs",
    "virtio-9p-pci,fsdev=share,mount_tag=host",
)


class Dom0Error(Exception):
    """The dom0 does not do what it is there for: it hangs, is gone, or cannot be started."""


class Machine:
    """A QEMU with the image in it, and this side's ends of what it is connected to."""

    def __init__(self, image: Dom0Image, memory: int, state: Path | None) -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="pvefi-dom0-")
        folder = Path(self._scratch.name)
        self.share, self.console = folder / "share", folder / "console"
        self._errors = folder / "errors"
        self.share.mkdir()
        self.console.touch()
        self.jobs, jobs = socket.socketpair()
        monitor, theirs = socket.socketpair()
        words = [*command(image, memory, self.share), "-chardev", f"file,id=serial,path={self.console}"]
        words += ["-chardev", f"socket,id=jobs,fd={jobs.fileno()}"]
        words += ["-chardev", f"socket,id=monitor,fd={theirs.fileno()}"]
        if state is not None:
            words += ["-incoming", f"exec:cat {shlex.quote(str(state))}"]
        with jobs, theirs, self._errors.open("wb") as errors:
            try:
                self._process = subprocess.Popen(
                    words,
                    cwd=image.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=errors,
                    stderr=errors,
                    pass_fds=(jobs.fileno(), theirs.fileno()),
                    # It takes no lock that a thread could hold.
                    preexec_fn=dies_with_parent(),  # noqa: PLW1509
                    start_new_session=True,
                )
            except OSError as error:
                self.jobs.close()
                monitor.close()
                self._scratch.cleanup()
                raise Dom0Error(f"{words[0]} cannot be run: {error.strerror}") from None
        self.monitor = Qmp(monitor)

    def last_words(self) -> str:
        """Return what QEMU said when it has ended, with a separator before it."""
        status = self._process.poll()
        said = self._errors.read_text(errors="replace").strip() if self._errors.exists() else ""
        return "" if status is None else f": QEMU ended with status {status}{said and f': {said}'}"

    def close(self) -> None:
        """End the process and let go of everything."""
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):
            self.jobs.shutdown(socket.SHUT_RDWR)
        self.monitor.close()
        self.jobs.close()
        self._scratch.cleanup()


def command(image: Dom0Image, memory: int, share: Path) -> list[str]:
    """Return the command line of the machine, but for what differs from run to run by nature."""
    words = ["qemu-system-x86_64", "-accel", "tcg", "-machine", "pc", "-cpu", CPU, "-m", str(memory)]
    words += ["-nodefaults", "-display", "none", "-no-reboot", "-kernel", image.xen.name]
    words += ["-append", XEN_LINE, "-initrd", f"{image.kernel.name} {KERNEL_LINE},{image.initrd.name}"]
    words += ["-serial", "chardev:serial", "-mon", "chardev=monitor,mode=control"]
    words += ["-fsdev", f"local,id=share,path={share},security_model=none"]
    return [*words, *(word for device in DEVICES for word in ("-device", device))]
