# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots kernels by Debian's OVMF with a store of variables that stays, as the judge of what pvefi does."""

from __future__ import annotations

import subprocess
from pathlib import Path

from pvefi.efi.varstore.edk2 import empty_store
from pvefi.spec.edk2.ovmf import OVMF_4M
from tests.conftest import RealFiles, Tool

SECONDS = 180


def ovmf_flash(corpus: RealFiles, store: Path, *, secure: bool = False) -> list[str]:
    """Return QEMU's options for OVMF with this store, which is made when it is not there."""
    if not store.exists():
        store.write_bytes(empty_store(OVMF_4M))
    code = corpus.file("ovmf", f"usr/share/OVMF/OVMF_CODE_4M{'.secboot' * secure}.fd")
    return flash(code, store, secure=secure)


def flash(code: Path, store: Path, *, secure: bool = False) -> list[str]:
    """Return QEMU's options for this build of OVMF with this store."""
    drive = "if=pflash,format=raw"
    # With Secure Boot OVMF writes variables in SMM, and nobody else gets at the flash.
    only_smm = ("-global", "driver=cfi.pflash01,property=secure,value=on")
    return [
        *(only_smm if secure else ()),
        *("-drive", f"{drive},unit=0,readonly=on,file={code}"),
        *("-drive", f"{drive},unit=1,file={store}"),
    ]


def q35(*, secure: bool = False) -> list[str]:
    """Return QEMU's options for a machine that a build of OVMF, with Secure Boot or not, runs on."""
    return ["-machine", f"q35,accel=tcg,smm={'on' if secure else 'off'}"]


def boot_by_ovmf(
    corpus: RealFiles,
    tool: Tool,
    store: Path,
    kernel: Path,
    initrd: Path,
    line: str,
    *,
    disk: Path | None = None,
    secure: bool = False,
) -> bytes:
    """Return what a guest wrote to its serial port until it powered itself off."""
    drive = ("-drive", f"if=none,id=disk,format=raw,file={disk}", "-device", "virtio-blk-pci,drive=disk")
    command = [
        *(tool("qemu-system-x86_64"), *q35(secure=secure), "-m", "512"),
        *("-display", "none", "-nodefaults", "-no-user-config", "-no-reboot"),
        *("-serial", "stdio", "-monitor", "none"),
        *(*ovmf_flash(corpus, store, secure=secure), *(drive if disk else ())),
        *("-kernel", str(kernel), "-initrd", str(initrd), "-append", line),
    ]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout
