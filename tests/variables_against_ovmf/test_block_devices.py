# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's variables last on a block device as they do in a file, and nothing else on it changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pvefi.efi.varstore.edk2 import empty_store
from pvefi.spec.edk2.ovmf import OVMF_4M
from pvefi.spec.uefi.status import EfiStatus
from tests.efi.varstore.disks import loop_device
from tests.variables_against_ovmf.hosts import Pvefi, run_to_the_end
from tests.variables_against_ovmf.machine import VENDORS
from tests.variables_against_ovmf.model import BS, NV, RT
from tests.variables_against_ovmf.operations import GetVariable, SetVariable, wide

USUAL = NV | BS | RT
NAME, VENDOR = wide("Kept"), VENDORS[0]
BEHIND = b"\xa5" * OVMF_4M.size


def test_a_store_on_a_block_device_serves_one_boot_after_the_other(
    tmp_path: Path, pvefi: Callable[[str], Pvefi]
) -> None:
    image, host = tmp_path / "disk", pvefi("embedded")
    image.write_bytes(empty_store(OVMF_4M) + BEHIND)
    read = GetVariable(NAME, VENDOR, 8, 8)
    with loop_device(image) as device:
        (missing, *_) = run_to_the_end(host, [read, SetVariable(NAME, VENDOR, USUAL, b"for good")], device)
        (found,) = run_to_the_end(host, [read], device)
    assert missing.status is EfiStatus.NOT_FOUND
    assert found.status is EfiStatus.SUCCESS
    assert found.outputs[::2] == (8, b"for good")
    assert image.read_bytes()[OVMF_4M.size :] == BEHIND
