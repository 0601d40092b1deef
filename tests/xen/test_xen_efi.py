# SPDX-License-Identifier: GPL-2.0-or-later
"""Xen as an EFI program on pvefi, with the whole of Xen's tools in its dom0: what Xen passes on to EFI."""

from __future__ import annotations

import json
import re
from pathlib import Path

from corpus import CorpusError
from pvefi.probe.cpio import regular_file
from pvefi.verdict import Outcome
from tests.conftest import Tool, lacks
from xen_demo import run
from xen_image import dom0_image

CALLS = Path(__file__).resolve().parent.parent.parent / "tools" / "xen_efi_calls.py"
SCRIPT = '#!/bin/sh\necho "told: $(python3 /calls.py 2>&1)"\n'


def test_the_clock_and_the_monotonic_count_go_through_xen(tool: Tool, tmp_path: Path) -> None:
    tool("qemu-system-x86_64")
    try:
        image = dom0_image()
    except CorpusError as error:
        lacks(str(error))
    files = [
        regular_file("run-at-boot", SCRIPT.encode(), executable=True),
        regular_file("calls.py", CALLS.read_bytes()),
    ]
    result, calls, console = run(tmp_path, image, files)
    assert result.verdict.outcome is Outcome.POWERED_OFF
    told = json.loads(re.findall(r"^told: (\{.*\})", console, re.MULTILINE)[0])
    assert told["vendor"] == "pvefi"
    assert told["version"] == 0x2_0064  # UEFI 2.10 §4.3: 2.100
    before, after = told["time"]["before"], told["time"]["after"]
    assert after[0] == before[0] + 1
    by_name = {call.service: call for call in calls}
    assert dict(by_name["SetTime"].arguments)["Time"]
    assert told["high_monotonic_count"] == dict(by_name["GetNextHighMonotonicCount"].outputs)["HighCount"]
