# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures variables that last: the store, efivarfs under pvefi and OVMF, and writers that are killed."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from bench.qemu_run import BenchError, Subject
from bench.store_figures import GuestSample, StoreSamples
from pvefi.efi.varstore.edk2 import empty_store
from pvefi.machines.qemu.installation import find_qemu
from pvefi.machines.qemu.ovmf import find_ovmf
from pvefi.probe.initrd import script_files, with_files
from pvefi.probe.lines import probe_boots
from pvefi.spec.edk2.ovmf import OVMF_4M
from tests.efi.varstore.kills import CROWDED, ROOMY, Killed, kill_writers

__all__ = ["measure_store"]

_ONCE = Path(__file__).resolve().parent / "store_once.py"
_SCRIPT = Path(__file__).resolve().parent / "variables.sh"
_NAME = "variables"
_COMMAND_LINE = "console=ttyS0 quiet probe=script,poweroff"
_MEMORY_MIB = 512
_TIMEOUT = 180.0
_TIMES_IN_A_LINE = 3


def measure_store(
    subject: Subject, rounds: int, kills: tuple[int, int], say: Callable[[str], None]
) -> StoreSamples:
    """Return the samples of `rounds` rounds, and of so many `kills` in a roomy store and in a crowded one."""
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as name:  # on a disk, not in memory
        folder = Path(name)
        initrd = folder / "initrd"
        script = script_files({_NAME: _SCRIPT.read_text(encoding="ascii")})
        initrd.write_bytes(with_files(subject.initrd.read_bytes(), script))
        once: dict[str, list[dict[str, float]]] = {"set": [], "get": [], "open": []}
        guests: list[tuple[GuestSample, GuestSample]] = []
        for number in range(1, rounds + 1):
            say(f"variables, round {number} of {rounds}")
            for what, found in once.items():
                found.append(_once(what, folder))
            guests.append(
                (_under_pvefi(subject.kernel, initrd, folder), _under_ovmf(subject.kernel, initrd, folder))
            )
        killed = tuple(_killed(folder, index, count, say) for index, count in enumerate(kills))
    return StoreSamples(
        sets=tuple((one["set_us"], one["write_us"]) for one in once["set"]),
        gets=tuple((one["few_us"], one["many_us"]) for one in once["get"]),
        opens=tuple((one["empty_ms"], one["full_ms"]) for one in once["open"]),
        guests=tuple(guests),
        killed=killed,
    )


def _once(what: str, folder: Path) -> dict[str, float]:
    words = [sys.executable, str(_ONCE), what, str(folder)]
    done = subprocess.run(words, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing on stderr"])[-1]
        raise BenchError(f"{what} of variables ended with {done.returncode}: {last}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _killed(folder: Path, index: int, count: int, say: Callable[[str], None]) -> Killed:
    def told(done: int) -> None:
        if done % 100 == 0:
            say(f"writers killed: {done:,} of {count:,}")

    return kill_writers(folder / "killed.fd", (ROOMY, CROWDED)[index], count, told)


def _under_pvefi(kernel: Path, initrd: Path, folder: Path) -> GuestSample:
    store = folder / "pvefi.fd"
    store.write_bytes(empty_store(OVMF_4M))
    words = [
        *(sys.executable, "-m", "pvefi", "boot", str(kernel), "--initrd", str(initrd), "--vars", str(store)),
        *("--machine", "qemu", "--accel", "tcg", "--memory", f"{_MEMORY_MIB}M", "--cmdline", _COMMAND_LINE),
    ]
    return _sample("pvefi", words)


def _under_ovmf(kernel: Path, initrd: Path, folder: Path) -> GuestSample:
    ovmf = find_ovmf()
    store = folder / "ovmf.fd"
    shutil.copyfile(ovmf.variables, store)
    flash = "if=pflash,format=raw"
    words = [
        *(str(find_qemu().program), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-machine", "q35", "-accel", "tcg", "-m", str(_MEMORY_MIB), "-serial", "stdio"),
        *("-drive", f"{flash},unit=0,readonly=on,file={ovmf.code}"),
        *("-drive", f"{flash},unit=1,cache=writeback,file={store}"),
        *("-kernel", str(kernel), "-initrd", str(initrd), "-append", _COMMAND_LINE),
    ]
    return _sample("OVMF", words)


def _sample(what: str, words: Sequence[str]) -> GuestSample:
    """Boot, and return the medians of what the guest measured."""
    done = subprocess.run(words, check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT)
    facts = {name: fact for boot in probe_boots(done.stdout) for name, fact in boot.facts.items()}
    fact = next((one for name, one in facts.items() if name.startswith("script ")), None)
    if fact is None or fact["status"] != 0:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or ["nothing on stderr"])[-1]
        raise BenchError(f"{what}: expected a guest that reads and writes variables, found none: {last}")
    lines = base64.b64decode(str(fact["output"])).decode("ascii").splitlines()
    times = [tuple(map(int, line.split())) for line in lines]
    if not times or any(len(one) != _TIMES_IN_A_LINE for one in times):
        raise BenchError(f"{what}: expected three times in a line, found {lines}")
    return GuestSample(
        read_ms=median((read - began) / 1e6 for began, read, _ in times),
        write_ms=median((end - read) / 1e6 for _, read, end in times),
    )
