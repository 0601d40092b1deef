# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures how long Xen takes to its dom0's first process: as an EFI program on pvefi and OVMF, by multiboot.

    python3 -m bench.xen_efi_run [--rounds N]

prints a JSON object a round, then the figures. The parts come from the corpus.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.qemu_run import BenchError
from bench.xen_efi_figures import MULTIBOOT, OVMF, PVEFI, WAYS, xen_efi_figures_of, xen_efi_tables_of
from pvefi.efi.varstore.edk2 import empty_store
from pvefi.image import inspect
from pvefi.image.payload import PayloadStream
from pvefi.machines.qemu.installation import find_qemu
from pvefi.machines.qemu.ovmf import find_ovmf
from pvefi.probe.lines import UP
from pvefi.spec.edk2.ovmf import OVMF_4M

__all__ = ["fill", "measure_xen_efi"]

CPU = "max,-smap"
MEMORY_MIB = 1024
TIMEOUT = 180.0
OPTIONS = "console=com1 com1=115200 dom0_mem=512M,max:512M bootscrub=0"
KERNEL_LINE = "console=hvc0 quiet probe=hold"
CONFIG = f"[global]\ndefault=dom0\n[dom0]\noptions={OPTIONS}\nkernel=vmlinux {KERNEL_LINE}\nramdisk=initrd\n"


def fill(folder: Path, xen: Path, multiboot: Path, kernel: Path, initrd: Path) -> None:
    """Put into `folder` what all ways boot: a volume `esp`, and Xen as the multiboot file `xen`."""
    boot = folder / "esp" / "EFI" / "BOOT"
    boot.mkdir(parents=True)
    shutil.copyfile(xen, boot / "BOOTX64.EFI")
    payload = inspect(kernel).payload
    if payload is None:
        raise BenchError(f"{kernel}: expected a compressed kernel, found none")
    stream = PayloadStream(str(kernel), kernel.read_bytes(), payload)
    (boot / "vmlinux").write_bytes(stream.read(0, stream.size))
    shutil.copyfile(initrd, boot / "initrd")
    (boot / "BOOTX64.cfg").write_text(CONFIG)
    (folder / "xen").write_bytes(gzip.decompress(multiboot.read_bytes()))


def measure_xen_efi(folder: Path, rounds: int, say: Callable[[str], None]) -> list[dict[str, float]]:
    """Return the seconds of each round, by way, of what `fill` put into `folder`; BenchError."""
    found = []
    for number in range(1, rounds + 1):
        taken = {}
        for way in WAYS:
            say(f"Xen to dom0, round {number} of {rounds}: {way}")
            taken[way] = _by_pvefi(folder) if way == PVEFI else _seconds(_command(folder, way), way)
        found.append(taken)
    return found


def _by_pvefi(folder: Path) -> float:
    """Return the seconds to the first process as pvefi itself counts them: from just before QEMU's start."""
    image = folder / "esp" / "EFI" / "BOOT" / "BOOTX64.EFI"
    words = [sys.executable, "-m", "pvefi", "boot", str(image), "--esp", str(folder / "esp"), "--json"]
    words += ["--machine", "qemu", "--qemu-machine", "pc", "--accel", "tcg", "--cpu", CPU]
    words += ["--memory", f"{MEMORY_MIB}M", "--until", "userspace", "--timeout", f"{TIMEOUT:.0f}"]
    done = subprocess.run(words, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing on stderr"])[-1]
        raise BenchError(f"{PVEFI} ended with {done.returncode}: {last}")
    return float(json.loads(done.stdout)["milestones"]["user space"])


def _command(folder: Path, way: str) -> list[str]:
    words = [str(find_qemu().program), "-machine", "pc", "-accel", "tcg", "-cpu", CPU, "-m", str(MEMORY_MIB)]
    words += ["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot"]
    boot = folder / "esp" / "EFI" / "BOOT"
    if way == MULTIBOOT:
        initrd = f"{boot / 'vmlinux'} {KERNEL_LINE},{boot / 'initrd'}"
        return [*words, "-kernel", str(folder / "xen"), "-append", f"xen {OPTIONS}", "-initrd", initrd]
    assert way == OVMF
    ovmf = find_ovmf("pc")
    store = folder / "store.fd"
    store.write_bytes(empty_store(OVMF_4M))
    flash = "if=pflash"
    words += ["-drive", f"{flash},unit=0,readonly=on,format={ovmf.code_format},file={ovmf.code}"]
    words += ["-drive", f"{flash},unit=1,format=raw,file={store}"]
    words += ["-drive", f"if=none,id=esp,format=raw,readonly=on,file=fat:{folder / 'esp'}"]
    return [*words, "-device", "virtio-blk-pci,drive=esp,bootindex=0"]


def _seconds(command: Sequence[str], way: str) -> float:
    """Return the seconds from QEMU's start until the probe says that it is up."""
    began = time.monotonic()
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            assert process.stdout is not None
            seen = b""
            while UP not in seen:
                left = began + TIMEOUT - time.monotonic()
                if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
                    raise BenchError(
                        f"{way}: no dom0 within {TIMEOUT:.0f} s; the last it said: {seen[-200:]!r}"
                    )
                data = os.read(process.stdout.fileno(), 65536)
                if not data:
                    raise BenchError(f"{way}: QEMU ended; the last it said: {seen[-200:]!r}")
                seen += data
            return time.monotonic() - began
        finally:
            process.kill()


def main(words: list[str]) -> int:
    """Measure and print; 1 with one line on stderr when it cannot be."""
    root = Path(__file__).resolve().parent.parent
    sys.path.insert(0, str(root / "tools"))
    from corpus import Corpus, CorpusError
    from probe import probe_initrd

    parser = argparse.ArgumentParser(prog="bench/xen_efi_run.py", description="Xen's start to its dom0.")
    parser.add_argument("--rounds", type=int, default=4, metavar="N")
    given = parser.parse_args(words)
    try:
        corpus = Corpus()
        parts = (
            corpus.file("xen", "boot/xen-*.efi"),
            corpus.file("xen", "boot/xen-*.gz"),
            corpus.file("amd64", "boot/vmlinuz-*"),
            probe_initrd("amd64", corpus),
        )
        with tempfile.TemporaryDirectory(prefix="pvefi-bench-") as scratch:
            fill(Path(scratch), *parts)
            rounds = measure_xen_efi(Path(scratch), given.rounds, lambda text: print(text, file=sys.stderr))
    except (BenchError, CorpusError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    for found in rounds:
        print(json.dumps(found))
    for figure in xen_efi_figures_of(rounds):
        print(f"{figure.name}: {figure.text(figure.median)}, {figure.reach}")
    for table in xen_efi_tables_of(rounds):
        for row in table.rows:
            print("  ".join(row))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
