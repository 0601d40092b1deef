# SPDX-License-Identifier: GPL-2.0-or-later
"""Xen as an EFI program on pvefi, its dom0 with EFI by hypercall, and in that a guest which pvefi boots."""

from __future__ import annotations

import json
import re
from pathlib import Path

from corpus import CorpusError
from pvefi.efi.varstore.edk2 import Edk2Store
from pvefi.verdict import Outcome
from tests.conftest import Tool
from tests.conftest import lacks as is_lacking
from tests.xen.conftest import require_mib
from xen_demo import MEMORY, demonstration, lacks, run
from xen_image import dom0_image

NEEDED_MIB = (MEMORY >> 20) // 2
"""What the machine takes of the host's memory: the initrd twice, dom0 and a guest; most stays unused."""
BOOT_ORDER = b"\1\0"
"""UEFI 2.10 §3.3: an array of 16-bit numbers; efibootmgr has set it to 0001."""


def test_all_of_the_proposal_runs_in_one_system(tool: Tool, tmp_path: Path) -> None:
    tool("qemu-system-x86_64")
    require_mib(NEEDED_MIB)
    try:
        image = dom0_image()
    except CorpusError as error:
        is_lacking(str(error))
    result, calls, console = run(tmp_path, image, demonstration(image))
    assert list(lacks(result.verdict, calls, console, tmp_path / "vars.fd")) == [], console[-6000:]
    assert result.verdict.outcome is Outcome.POWERED_OFF
    told = json.loads(re.findall(r"demo: (\{.*\})", console)[0])
    assert told["vendor"] == "pvefi"
    assert told["version"] == 0x2_0064  # UEFI 2.10 §4.3: 2.100
    before, after = told["time"]["before"], told["time"]["after"]
    assert after[0] == before[0] + 1
    by_name = {call.service: call for call in calls}
    assert dict(by_name["SetTime"].arguments)["Time"]
    assert told["high_monotonic_count"] == dict(by_name["GetNextHighMonotonicCount"].outputs)["HighCount"]
    with Edk2Store.open(tmp_path / "vars.fd", writable=False) as store:
        kept = {variable.name: variable.data for variable in store}
    assert kept["BootOrder"] == BOOT_ORDER
    assert "set by dom0".encode("utf-16-le") in kept["Boot0001"]
    assert re.search(r"domU: .*efi: EFI v2.100? by pvefi", console)
    assert re.search(r"domU: powered off: the guest called ResetSystem", console)
