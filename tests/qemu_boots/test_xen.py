# SPDX-License-Identifier: GPL-2.0-or-later
"""Xen itself as the EFI program: xen.efi finds its parts on the volume, and dom0 reaches EFI through it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from virt.firmware.varstore.edk2 import Edk2VarStore

from pvefi.cli.status import ExitStatus
from pvefi.image import inspect
from pvefi.image.payload import PayloadStream
from pvefi.probe.initrd import script_files
from pvefi.probe.lines import UP
from pvefi.verdict import Outcome
from tests.conftest import RealFiles, Tool
from tests.qemu_boots.conftest import Booted, Boots

CPU = "max,-smap"
"""Xen 4.17 dies under QEMU 7.2's SMAP when it emulates an instruction of a guest."""
MEMORY = 1024
XEN_LINE = "console=com1 com1=115200 dom0_mem=512M,max:512M bootscrub=0"
CONFIG = """\
[global]
default=dom0

[dom0]
options={options}
kernel=vmlinux console=hvc0 panic=-1 {line}
ramdisk=initrd
"""
VENDOR = "cfc8fc79-be2e-4ddc-97f0-9f98bfe298a0"
GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
# UEFI 2.10 §3.1.3: attributes (active), the size of the device path, a description, and an empty path.
OPTION = b"\1\0\0\0\4\0" + "by dom0\0".encode("utf-16-le") + b"\x7f\xff\4\0"
SCRIPT = {
    "create": rf"printf '\7\0\0\0value' >$efivars/ByDom0-{VENDOR}",
    "efivar": f"efivar -p -n {VENDOR}-ByDom0",
    "option": f"cat /given/option >$efivars/Boot0007-{GLOBAL}",
    "order": "efibootmgr -q -o 0007 && efibootmgr -q -n 0007 && efibootmgr -t 5",
    "listed": "efibootmgr",
    "gone": rf"printf '\7\0\0\0x' >$efivars/Gone-{VENDOR} && rm $efivars/Gone-{VENDOR}",
    "hypervisor": "cat /sys/hypervisor/type",
}


@pytest.fixture(scope="module")
def parts(corpus: RealFiles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with Xen and a kernel for its dom0, decompressed so that Xen need not do it."""
    folder = tmp_path_factory.mktemp("xen")
    shutil.copyfile(corpus.file("xen", "boot/xen-*.efi"), folder / "xen.efi")
    kernel = corpus.kernel("amd64")
    payload = inspect(kernel).payload
    assert payload is not None
    stream = PayloadStream(str(kernel), kernel.read_bytes(), payload)
    (folder / "vmlinux").write_bytes(stream.read(0, stream.size))
    return folder


@pytest.fixture
def volume(parts: Path, boots: Boots, tmp_path: Path) -> Volume:
    """Return what makes a volume."""
    return Volume(parts, boots, tmp_path / "esp")


class Volume:
    """A folder with Xen, its configuration, and a dom0 that is the probe."""

    def __init__(self, parts: Path, boots: Boots, top: Path) -> None:
        self._parts, self._boots, self.top = parts, boots, top
        self.folder = top / "EFI" / "Xen"
        self.folder.mkdir(parents=True)

    def fill(
        self,
        line: str,
        programs: tuple[str, ...] = (),
        script: Mapping[str, str] = MappingProxyType({}),
        files: Mapping[str, bytes] = MappingProxyType({}),
    ) -> None:
        """Put in what dom0 is to be, with this on its command line."""
        for name in ("xen.efi", "vmlinux"):
            (self.folder / name).hardlink_to(self._parts / name)
        initrd = self._boots.initrd("amd64", programs, {**files, **script_files(script)})
        shutil.copyfile(initrd, self.folder / "initrd")
        (self.folder / "xen.cfg").write_text(CONFIG.format(options=XEN_LINE, line=line))

    def boot(self, image: Path | None = None, **more: Any) -> Booted:
        """Boot Xen as it stands on the volume."""
        given = {"image": image or self.folder / "xen.efi", "esp": self.top, "machine": "pc", "cpu": CPU}
        return self._boots("amd64", "", **{"memory": MEMORY, **given, **more})


def services(booted: Booted) -> set[str]:
    return {call.service for call in booted.calls}


def test_dom0_reaches_the_variables_through_xen(volume: Volume, store: Path) -> None:
    files = {"given/option": b"\7\0\0\0" + OPTION}
    volume.fill("probe=efi,efivars,script", ("efibootmgr", "efivar"), SCRIPT, files)
    booted = volume.boot(variables=store)
    assert booted.result.verdict.outcome is Outcome.POWERED_OFF
    assert b"(XEN) Xen version 4.17" in booted.console
    facts = booted.facts
    assert facts.efi is not None
    assert facts.efi.present
    assert facts.variables is not None
    assert not facts.variables.problems
    assert not {name: done for name, done in facts.script.items() if done.status}
    assert facts.script["hypervisor"].output == b"xen\n"
    assert b"value" in facts.script["efivar"].output
    assert b"BootNext: 0007" in facts.script["listed"].output
    assert b"BootOrder: 0007" in facts.script["listed"].output
    assert re.search(rb"^Boot0007\* by dom0", facts.script["listed"].output, re.MULTILINE)
    # Xen calls at physical addresses, on its own page tables: it never gives others.
    assert "SetVirtualAddressMap" not in services(booted)
    set_by_dom0 = [dict(call.arguments) for call in booted.calls if call.service == "SetVariable"]
    assert {"ByDom0", "Boot0007", "BootOrder", "BootNext", "Timeout", "Gone"} <= {
        arguments["VariableName"] for arguments in set_by_dom0
    }
    # What virt-firmware reads in the store afterwards.
    kept = Edk2VarStore(str(store)).get_varlist()
    assert kept["ByDom0"].data == b"value"
    assert kept["Boot0007"].data == OPTION
    assert kept["BootNext"].data == kept["BootOrder"].data == b"\7\0"
    assert kept["Timeout"].data == b"\5\0"
    assert "Gone" not in kept


def test_a_dom0_that_reboots_comes_back(volume: Volume) -> None:
    volume.fill("probe=count,reboot")
    booted = volume.boot(until=lambda text: text.count(UP) == 2 and text.rstrip().endswith(b"reboot"))
    assert booted.result.verdict.outcome is Outcome.LEFT
    assert booted.result.restarts == 1
    assert "ResetSystem" in services(booted)
    assert [one.boot.end for one in booted.boots] == ["reboot", "reboot"]
    assert [one.count.before for one in booted.boots if one.count is not None] == [0, 1]


def test_a_unified_image_brings_its_own_parts(volume: Volume, tool: Tool, tmp_path: Path) -> None:
    volume.fill("probe=hold")
    (tmp_path / "empty").mkdir()
    unified = unify(tool, volume.folder, tmp_path / "unified.efi")
    booted = volume.boot(unified, esp=tmp_path / "empty", until=lambda text: UP in text)
    assert booted.result.verdict.outcome is Outcome.LEFT
    assert "EFI_FILE_PROTOCOL.Read" not in services(booted)


def unify(tool: Tool, folder: Path, path: Path) -> Path:
    """Return `path` with xen.efi and its parts as sections — Xen docs/misc/efi.pandoc, "Unified"."""
    pe = inspect(folder / "xen.efi").pe
    assert pe is not None
    parts = {".config": "xen.cfg", ".kernel": "vmlinux", ".ramdisk": "initrd"}
    address = pe.image_base + pe.size_of_image
    words = [tool("objcopy")]
    for section, name in parts.items():
        address = -(-address // pe.section_alignment) * pe.section_alignment
        words += ["--add-section", f"{section}={folder / name}"]
        words += ["--change-section-vma", f"{section}={address:#x}"]
        words += ["--set-section-flags", f"{section}=alloc,load,readonly,data,contents"]
        address += (folder / name).stat().st_size
    subprocess.run([*words, folder / "xen.efi", path], check=True, stdin=subprocess.DEVNULL)
    return path


def test_the_command_line_may_name_another_configuration(volume: Volume) -> None:
    volume.fill("probe=hold")
    (volume.folder / "xen.cfg").rename(volume.top / "other.cfg")
    booted = volume.boot(arguments="xen -cfg=\\other.cfg", until=lambda text: b"(XEN) Xen version" in text)
    assert booted.result.verdict.outcome is Outcome.LEFT
    opened = [
        dict(call.arguments)["FileName"] for call in booted.calls if call.service == "EFI_FILE_PROTOCOL.Open"
    ]
    assert "\\other.cfg" in opened


@pytest.mark.parametrize(
    ("broken", "said"),
    [("xen.cfg", "No configuration file found."), ("vmlinux", "vmlinux"), ("initrd", "initrd")],
)
def test_what_xen_lacks_is_what_it_says_and_no_success(
    volume: Volume, tool: Tool, broken: str, said: str
) -> None:
    volume.fill("probe=hold")
    (volume.folder / broken).unlink()
    words: list[str | Path] = [sys.executable, "-m", "pvefi", "boot", volume.folder / "xen.efi"]
    words += ["--esp", volume.top, "--machine", "qemu", "--qemu-machine", "pc", "--timeout", "60"]
    words += ["--qemu", tool("qemu-system-x86_64"), "--until", "userspace"]
    done = subprocess.run(
        words,
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == ExitStatus.GUEST_FAILED
    last = done.stderr.splitlines()[-1]
    assert last.startswith("pvefi: exited: xen.efi ended with EFI_SUCCESS; the last that it said: ")
    assert said in last


def test_a_dom0_kernel_that_is_none_is_a_panic_of_xen_and_no_endless_restart(volume: Volume) -> None:
    volume.fill("probe=hold")
    (volume.folder / "vmlinux").unlink()
    (volume.folder / "vmlinux").write_bytes(bytes(1 << 16))
    verdict = volume.boot().result.verdict
    assert verdict.outcome is Outcome.PANICKED
    assert verdict.message.startswith("Xen panics: ")
