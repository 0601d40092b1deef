#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The whole 2016 proposal in one running system, with nothing but QEMU under it.

    make xen-demo

pvefi boots Debian's xen.efi through the EFI entry, as firmware would; Xen starts its dom0, which reaches EFI
by Xen's hypercalls; and in that dom0 pvefi boots an unmodified kernel as a PVH domU through the kernel's own
EFI entry. Printed are the lines of their console that tell of it, what pvefi saw, and what dom0 has left in
pvefi's store of variables. Needs a minute or two, and pvefi's environment; the parts come from
tools/xen_image.py and the corpus. The exit status is 0 when all of it happened, 1 with a line on stderr for
each thing that did not, or for what is lacking, 2 for a wrong option, and 130 by Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from corpus import CorpusError
from probe import kernel_file, probe_initrd
from pvefi.boot import Observer, boot
from pvefi.efi.varstore.edk2 import Edk2Store, empty_store
from pvefi.errors import PvefiError, UsageError
from pvefi.machines.choose import QemuWish, choose_machine
from pvefi.machines.qemu.command import MachineType
from pvefi.prepare import BootOptions, prepare
from pvefi.probe.cpio import Entry, archive, regular_file, with_folders
from pvefi.serial import SerialDecoder, visible
from pvefi.spec.edk2.ovmf import OVMF_4M
from pvefi.spec.uefi.load_option import LOAD_OPTION_ACTIVE
from pvefi.trace.events import CallEvent
from pvefi.verdict import BootResult, Outcome, Verdict
from xen_image import Dom0Image, byte_compile, dom0_image
from xen_machine import CPU, EAGER_FPU

__all__ = ["Transcript", "demonstration", "fill", "heading", "lacks", "run", "shown"]

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parent / "src" / "pvefi"
MEMORY = 3 << 30
SECONDS = 600.0
MOST = 4
"""How many services are named of those that were called most."""
CONFIG = f"""\
[global]
default=dom0

[dom0]
options=console=com1 com1=115200 dom0_mem=1024M,max:1024M bootscrub=0 {EAGER_FPU}
kernel=vmlinux console=hvc0 panic=1
ramdisk=initrd
"""
DOM0 = r"""#!/bin/sh
say() { sed 's/^/demo: /'; }
efivars=/sys/firmware/efi/efivars
global=8be4df61-93ca-11d2-aa0d-00e098032b8c
count=$(ls $efivars | wc -l)
echo "dom0 is Linux $(uname -r) on $(cat /sys/hypervisor/type), efivarfs has $count variables" | say
printf '\7\0\0\0from dom0' >$efivars/Demo-cfc8fc79-be2e-4ddc-97f0-9f98bfe298a0
cat /demo/option >$efivars/Boot0001-$global
echo '# efibootmgr --bootnum 0001 --active --bootorder 0001 --timeout 3' | say
efibootmgr --bootnum 0001 --active --bootorder 0001 --timeout 3 2>&1 | say
echo '# xen_efi_calls.py' | say
python3 /demo/xen_efi_calls.py 2>&1 | say
echo '# pvefi boot --machine xen vmlinuz --initrd probe --memory 256M' | say
pvefi boot --machine xen /demo/vmlinuz --initrd /demo/probe --memory 256M --xl-set 'tsc_mode="native"' \
    --cmdline 'console=hvc0 panic=-1 probe=efi,efivars,poweroff' --timeout 400 2>&1 </dev/null |
    sed 's/^/domU: /'
"""
OPTION_NAME = "set by dom0"
# UEFI 2.10 §3.1.3: attributes 7 of the variable; then an option that is not active yet, and an empty path.
OPTION = b"\7\0\0\0" + b"\0\0\0\0\4\0" + f"{OPTION_NAME}\0".encode("utf-16-le") + b"\x7f\xff\4\0"
LINUX = r"(?:(?:efi: EFI v|Hypervisor detected|Registered efivars|Booting .*kernel on Xen|Run /init).*)"
TOLD = (
    re.compile(r"^(Xen 4\S+ .*EFI loader)"),
    re.compile(r"^(Using configuration file .*)"),
    re.compile(r"^(\(XEN\) (?:Xen version \S+(?: \(Debian [^)]*\))?|Bootloader: EFI.*|Command line: .*))"),
    re.compile(rf"^(\[ *[\d.]+\] (?:Linux version \S+|{LINUX}))"),
    re.compile(r"^demo: (.*)"),
    re.compile(r"^domU: (EFI stub: .*)"),
    re.compile(rf"^domU: (\[ *[\d.]+\] (?:Linux version \S+|reboot: .*|{LINUX}))"),
    re.compile(r"^domU: ((?:powered off|exited|faulted|panicked|timed out|pvefi:|PVEFI-PROBE up).*)"),
    re.compile(r"^domU: (  (?:machine|passed|time) .*)"),
)
"""What of the console is shown."""
DOM0_STARTS, DOMU_STARTS = re.compile(r"^\[ *[\d.]+\] Linux version"), re.compile(r"^demo: # pvefi boot")
STEPS = (
    "pvefi starts xen.efi, as firmware would",
    "Xen starts its dom0, which reaches EFI by hypercalls",
    "In that dom0 pvefi starts a PVH domU through the kernel's EFI entry",
    "What pvefi, under Xen, has seen of Xen and dom0",
)


def fill(folder: Path, image: Dom0Image, files: Iterable[Entry]) -> Path:
    """Put Xen and its dom0, with `files` in it besides, into `folder`, and return where Xen stands.

    The file run-at-boot is what dom0 does when it is up.
    """
    folder.mkdir(parents=True)
    shutil.copyfile(image.xen_efi, folder / "xen.efi")
    shutil.copyfile(image.kernel, folder / "vmlinux")
    (folder / "xen.cfg").write_text(CONFIG)
    with (folder / "initrd").open("wb") as initrd:
        initrd.write(image.initrd.read_bytes())
        initrd.write(archive(with_folders(files)))
    return folder / "xen.efi"


def demonstration(image: Dom0Image) -> Iterator[Entry]:
    """Yield what the demonstration needs in dom0."""
    yield regular_file("run-at-boot", DOM0.encode(), executable=True)
    yield regular_file("demo/option", OPTION)
    yield regular_file("demo/xen_efi_calls.py", (HERE / "xen_efi_calls.py").read_bytes())
    yield regular_file("demo/vmlinuz", kernel_file("cloud").read_bytes())
    yield regular_file("demo/probe", probe_initrd("cloud").read_bytes())
    yield from _source(image)


def _source(image: Dom0Image) -> Iterator[Entry]:
    """Yield this tree's pvefi, byte-compiled for dom0's Python."""
    with tempfile.TemporaryDirectory(prefix="pvefi-demo-") as scratch:
        folder = Path(scratch) / "pvefi"
        shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("__pycache__"))
        byte_compile(image.root, folder, "/opt/pvefi")
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                yield regular_file(f"opt/pvefi/{path.relative_to(folder)}", path.read_bytes())


def heading(number: int) -> str:
    """Return the heading of a step, which are counted from 1."""
    return ("\n" if number > 1 else "") + f"{number}. {STEPS[number - 1]}"


def shown(line: str) -> Iterator[str]:
    """Yield what is printed for a line of the console: it, part of it, a heading before it, or nothing."""
    if DOM0_STARTS.search(line):
        yield heading(2)
    if DOMU_STARTS.search(line):
        yield heading(3)
    found = next((match for pattern in TOLD if (match := pattern.search(line))), None)
    if found and found[1].startswith("{"):
        yield from (f"   {text}" for text in _calls_lines(json.loads(found[1])))
    elif found:
        yield f"   {found[1]}".rstrip()


def _calls_lines(told: dict[str, Any]) -> Iterator[str]:
    """Yield what tools/xen_efi_calls.py has found, in lines."""
    clock = {name: "{:04}-{:02}-{:02} {:02}:{:02}:{:02}".format(*at) for name, at in told["time"].items()}
    yield f"firmware         {told['vendor']}, revision {told['version'] >> 16}.{told['version'] & 0xFFFF}"
    yield f"clock            {clock['before']}, set to {clock['set']}, then {clock['after']}"
    yield f"monotonic count  its high half is {told['high_monotonic_count']}"


@dataclass
class Transcript:
    """Takes the console as it comes and prints what `shows` makes of its lines."""

    shows: Callable[[str], Iterable[str]]
    text: str = ""
    printed: int = 0
    decoder: SerialDecoder = field(default_factory=SerialDecoder)

    def take(self, data: bytes) -> None:
        """Take more of the console."""
        self.text += visible(self.decoder.text(data))
        end = self.text.rfind("\n") + 1
        for line in self.text[self.printed : end].splitlines():
            for text in self.shows(line.rstrip()):
                print(text, flush=True)
        self.printed = max(self.printed, end)


def run(
    folder: Path,
    image: Dom0Image,
    files: Iterable[Entry],
    shows: Callable[[str], Iterable[str]] = lambda _: (),
) -> tuple[BootResult, list[CallEvent], str]:
    """Boot it all, put into `folder`; return the result, the calls and the console.

    What `shows` makes of its lines is printed. The variables are left in vars.fd.
    """
    xen = fill(folder / "esp" / "EFI" / "Xen", image, files)
    store = folder / "vars.fd"
    store.write_bytes(empty_store(OVMF_4M))
    transcript, calls = Transcript(shows), list[CallEvent]()
    machine = choose_machine("qemu", QemuWish(machine_type=MachineType.PC, cpu=CPU))
    options = BootOptions(
        xen,
        machine,
        memory_size=MEMORY,
        timeout=SECONDS,
        variables=store,
        esp=folder / "esp",
    )
    observer = Observer(
        console=lambda text: transcript.take(text.encode()),
        call=calls.append,
        stage=lambda _: None,
        serial=transcript.take,
    )
    return boot(prepare(options), observer), calls, transcript.text


def _summary(result: BootResult, calls: Sequence[CallEvent]) -> Iterator[str]:
    names = [call.service.rpartition("_PROTOCOL.")[2] for call in calls]
    ended = names.index("ExitBootServices") + 1 if "ExitBootServices" in names else len(names)
    for when, part in (("boot services", names[:ended]), ("runtime", names[ended:])):
        most = ", ".join(f"{name} {count}" for name, count in Counter(part).most_common(MOST))
        yield f"{when:<15}{len(part)} calls, most of them {most}"
    count = names.count("SetVirtualAddressMap")
    yield f"{'':<15}SetVirtualAddressMap {count}: Xen calls EFI at its physical addresses"
    passed = ", ".join(f"{milestone} {seconds:.1f} s" for milestone, seconds in result.milestones.items())
    yield f"{'passed':<15}{passed}"
    yield f"{result.verdict.outcome.value:<15}{result.verdict.message}"


def _variables(store: Path) -> Iterator[str]:
    """Yield what pvefi says of the store."""
    words = [sys.executable, "-m", "pvefi", "vars", "list", str(store)]
    done = subprocess.run(words, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    yield "$ pvefi vars list vars.fd"
    yield from (done.stdout + done.stderr).splitlines()


def lacks(verdict: Verdict, calls: Sequence[CallEvent], console: str, store: Path) -> Iterator[str]:
    """Yield what has not happened though it was to."""
    if verdict.outcome is not Outcome.POWERED_OFF:
        yield f"expected dom0 to switch the machine off, found: {verdict.message}"
    with Edk2Store.open(store, writable=False) as opened:
        found = {variable.name: variable.data for variable in opened}
    yield from (
        f"expected the variable {name} from dom0 in {store.name}, found none"
        for name in ("Boot0001", "BootOrder", "Timeout", "Demo")
        if name not in found
    )
    # Only efibootmgr has made the option an active one.
    if "Boot0001" in found and not found["Boot0001"][0] & LOAD_OPTION_ACTIVE:
        yield "expected a Boot0001 that efibootmgr has written, found it as it was before"
    if not any(call.service == "SetTime" for call in calls):
        yield "expected dom0 to set the clock, found that it did not"
    if not re.search(r"domU: .*PVEFI-PROBE up", console):
        yield "expected a domU in user space, found none"


def _new_folder(asked: Path) -> Path:
    """Return the folder that was asked for; UsageError when something is in it."""
    if asked.exists() and (not asked.is_dir() or any(asked.iterdir())):
        raise UsageError(f"{asked}: expected a new or empty folder, found something there", "name another")
    return asked.absolute()


def main(words: list[str]) -> int:
    """Show it; 0 when all of it happened, 1 with a line on stderr for each thing that did not."""
    parser = argparse.ArgumentParser(
        prog="tools/xen_demo.py", description="xen.efi, dom0 and a domU by pvefi."
    )
    parser.add_argument("--all", action="store_true", help="print all of the console")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="put the files here, and leave them there")
    given = parser.parse_args(words)
    try:
        with tempfile.TemporaryDirectory(prefix="pvefi-demo-") as scratch:
            folder = _new_folder(given.keep or Path(scratch))
            lacking = _show(folder, dom0_image(), (lambda line: (line,)) if given.all else shown)
    except (CorpusError, PvefiError) as error:
        print(f"xen-demo: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"xen-demo: {error.filename or 'the files'}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("xen-demo: interrupted", file=sys.stderr)
        return 130
    for line in lacking:
        print(f"xen-demo: {line}", file=sys.stderr)
    if lacking and not given.all:
        print("xen-demo: --all shows the whole console", file=sys.stderr)
    return 1 if lacking else 0


def _show(folder: Path, image: Dom0Image, shows: Callable[[str], Iterable[str]]) -> list[str]:
    """Run it, print what there is to see, and return what is lacking."""
    terminal = Console()
    columns = (SpinnerColumn(), TextColumn("xen-demo"), TimeElapsedColumn())
    with Progress(*columns, console=terminal, transient=True, disable=not terminal.is_terminal) as progress:
        progress.add_task("", total=None)
        print(heading(1))
        result, calls, console = run(folder, image, demonstration(image), shows)
    print(heading(4))
    for line in (*_summary(result, calls), *_variables(folder / "vars.fd")):
        print(f"   {line}".rstrip())
    return list(lacks(result.verdict, calls, console, folder / "vars.fd"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
