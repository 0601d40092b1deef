#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The whole 2016 proposal in one running system, with nothing but QEMU under it.

    make xen-demo

pvefi boots Debian's xen.efi through the EFI entry, as firmware would; Xen starts its dom0, which reaches EFI
by Xen's hypercalls; and in that dom0 pvefi boots an unmodified kernel as a PVH domU through the kernel's own
EFI entry. What is printed are the lines that tell of it, then what pvefi saw. The exit status is 0 when all
of it happened. Runs in pvefi's environment; the parts come from tools/xen_image.py and the corpus.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from corpus import CorpusError
from probe import kernel_file, probe_initrd
from pvefi.boot import Observer, boot
from pvefi.efi.varstore.edk2 import empty_store
from pvefi.errors import PvefiError
from pvefi.machines.choose import QemuWish, choose_machine
from pvefi.machines.qemu.command import MachineType
from pvefi.prepare import BootOptions, prepare
from pvefi.probe.cpio import Entry, archive, regular_file, with_folders
from pvefi.serial import SerialDecoder, visible
from pvefi.spec.edk2.ovmf import OVMF_4M
from pvefi.trace.events import CallEvent
from pvefi.verdict import BootResult, Outcome
from xen_image import Dom0Image, byte_compile, dom0_image
from xen_machine import CPU, EAGER_FPU

__all__ = ["Transcript", "demonstration", "fill", "lacks", "run"]

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parent / "src" / "pvefi"
MEMORY = 3 << 30
SECONDS = 600.0
CONFIG = f"""\
[global]
default=dom0

[dom0]
options=console=com1 com1=115200 dom0_mem=1024M,max:1024M bootscrub=0 {EAGER_FPU}
kernel=vmlinux console=hvc0 panic=1
ramdisk=initrd
"""
DOM0 = r"""#!/bin/sh
say() { echo "demo: $*"; }
efivars=/sys/firmware/efi/efivars
global=8be4df61-93ca-11d2-aa0d-00e098032b8c
say "dom0 is $(uname -r) on $(cat /sys/hypervisor/type), EFI of $(cat $efivars/../fw_platform_size) bits"
say "efivarfs has $(ls $efivars | wc -l) variables"
cat /demo/option >$efivars/Boot0001-$global && efibootmgr -q -o 0001
efibootmgr | while read -r line; do say "efibootmgr: $line"; done
printf '\7\0\0\0from dom0' >$efivars/Demo-cfc8fc79-be2e-4ddc-97f0-9f98bfe298a0
say "by hypercall: $(python3 /demo/xen_efi_calls.py 2>&1)"
say "starting a PVH domU through EFI"
pvefi boot --machine xen /demo/vmlinuz --initrd /demo/probe --memory 256M --xl-set 'tsc_mode="native"' \
    --cmdline 'console=hvc0 panic=-1 probe=efi,efivars,poweroff' --timeout 400 2>&1 </dev/null |
    sed 's/^/domU: /'
say "end"
"""
# UEFI 2.10 §3.1.3: attributes 7 of the variable; then an active option, its description, and an empty path.
OPTION = b"\7\0\0\0" + b"\1\0\0\0\4\0" + "set by dom0\0".encode("utf-16-le") + b"\x7f\xff\4\0"
TOLD = (
    re.compile(r"Xen 4\S+ .*EFI loader"),
    re.compile(r"\(XEN\) (?:Xen version|EFI RAM map|\*\*\* Building a PV Dom0|\*\*\* Serial input to DOM0)"),
    re.compile(r"demo: "),
    re.compile(
        r"domU: .*(?:Hypervisor detected|efi: EFI v|paravirtualized kernel|Remapping and enabling EFI)"
    ),
    re.compile(r"domU: .*(?:Registered efivars operations|Run /init|PVEFI-PROBE up|reboot: Power down)"),
    re.compile(r"domU: (?:powered off|exited|faulted|panicked|timed out|pvefi:)"),
    re.compile(r"domU:   (?:boot|machine|passed|time) "),
)


def fill(folder: Path, image: Dom0Image, files: Iterable[Entry]) -> Path:
    """Put Xen and its dom0, with `files` in it besides, into `folder`, and return where Xen stands.

    The file run-at-boot is what dom0 does when it is up.
    """
    folder.mkdir(parents=True, exist_ok=True)
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


def _tells(line: str) -> bool:
    return any(pattern.search(line) for pattern in TOLD)


@dataclass
class Transcript:
    """Takes the console as it comes and prints the lines of which `shows` holds."""

    shows: Callable[[str], bool]
    text: str = ""
    printed: int = 0
    decoder: SerialDecoder = field(default_factory=SerialDecoder)

    def take(self, data: bytes) -> None:
        """Take more of the console."""
        self.text += visible(self.decoder.text(data))
        end = self.text.rfind("\n") + 1
        for line in self.text[self.printed : end].splitlines():
            if line.strip() and self.shows(line):
                print(line.rstrip(), flush=True)
        self.printed = max(self.printed, end)


def run(
    folder: Path, image: Dom0Image, files: Iterable[Entry], shows: Callable[[str], bool] = lambda _: False
) -> tuple[BootResult, list[CallEvent], str]:
    """Boot it all, put into `folder`; return the result, the calls and the console.

    Lines of which `shows` holds are printed.
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
    counted = Counter(call.service for call in calls)
    ended = next(
        (index for index, call in enumerate(calls) if call.service == "ExitBootServices"), len(calls)
    )
    yield f"pvefi answered {ended + 1} calls up to ExitBootServices, and {len(calls) - ended - 1} afterwards"
    of_files = {
        name.partition(".")[2]: n for name, n in counted.items() if name.startswith("EFI_FILE_PROTOCOL")
    }
    yield "of files: " + ", ".join(f"{name} {count}" for name, count in sorted(of_files.items()))
    yield f"SetVirtualAddressMap: {counted['SetVirtualAddressMap']} (Xen never calls it)"
    after = Counter(call.service for call in calls[ended + 1 :])
    yield "by dom0 and Xen: " + ", ".join(f"{name} {count}" for name, count in after.most_common())
    passed = ", ".join(f"{milestone} {seconds:.1f} s" for milestone, seconds in result.milestones.items())
    yield f"passed: {passed}; {result.verdict.outcome.value}: {result.verdict.message}"


def lacks(result: BootResult, calls: Sequence[CallEvent], console: str) -> Iterator[str]:
    """Yield what has not happened though it was to."""
    if result.verdict.outcome is not Outcome.POWERED_OFF:
        yield f"dom0 did not switch the machine off: {result.verdict.message}"
    set_names = {dict(call.arguments).get("VariableName") for call in calls if call.service == "SetVariable"}
    yield from (f"{name} was not set" for name in ("Boot0001", "BootOrder", "Demo") if name not in set_names)
    if not any(call.service == "SetTime" for call in calls):
        yield "the clock was not set"
    if not re.search(r"domU: .*PVEFI-PROBE up", console):
        yield "the domU did not come to user space"


def main(words: list[str]) -> int:
    """Show it; 0 when all of it happened, 1 with a line on stderr for each thing that did not."""
    parser = argparse.ArgumentParser(
        prog="tools/xen_demo.py", description="xen.efi, dom0 and a domU by pvefi."
    )
    parser.add_argument("--all", action="store_true", help="print all of the console")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="put the files here, and leave them there")
    given = parser.parse_args(words)
    try:
        image = dom0_image()
        with tempfile.TemporaryDirectory(prefix="pvefi-demo-") as scratch:
            result, calls, console = run(
                given.keep or Path(scratch),
                image,
                demonstration(image),
                (lambda _: True) if given.all else _tells,
            )
    except (CorpusError, PvefiError) as error:
        print(f"xen-demo: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"xen-demo: {error.filename or 'the files'}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("xen-demo: interrupted", file=sys.stderr)
        return 130
    for line in _summary(result, calls):
        print(line)
    lacking = list(lacks(result, calls, console))
    for line in lacking:
        print(f"xen-demo: {line}", file=sys.stderr)
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
