# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's own users of runtime services: panic logs, the boot loader's variables, resets."""

from __future__ import annotations

from pathlib import Path

import pytest
from virt.firmware.varstore.edk2 import Edk2VarStore

from pvefi.efi.varstore.edk2 import empty_store
from pvefi.spec.edk2.ovmf import OVMF_4M
from pvefi.spec.uefi.reset import ResetType
from pvefi.verdict import Outcome
from tests.conftest import RealFiles
from tests.qemu_boots.conftest import Boots
from tests.qemu_boots.test_entries import ends_well

LOADER = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
"""The vendor of what boot loaders and operating systems tell each other (Linux include/linux/efi.h)."""
LOAD = "insmod given/efi-pstore.ko && mount -t pstore pstore /sys/fs/pstore"


@pytest.fixture
def modules(corpus: RealFiles) -> dict[str, bytes]:
    corpus.files("cloud")
    return {f"given/{path.name}": path.read_bytes() for path in corpus.files("cloud-efi-modules")}


def test_what_the_kernel_writes_as_it_panics_is_there_at_the_next_boot(
    boots: Boots, modules: dict[str, bytes], tmp_path: Path
) -> None:
    store = tmp_path / "vars.fd"
    store.write_bytes(empty_store(OVMF_4M))
    crash = {"load": LOAD, "crash": "echo the last words >/dev/kmsg; echo c >/proc/sysrq-trigger"}
    crashed = boots("cloud", "script", script=crash, files=modules, variables=store)
    assert crashed.result.verdict.outcome is Outcome.PANICKED
    dumps = [name for name in Edk2VarStore(str(store)).get_varlist() if name.startswith("dump-type0-")]
    assert dumps
    read = {
        "load": LOAD,
        "read": "cat /sys/fs/pstore/dmesg-efi*",
        # efivarfs knows of it once it has asked for the names again.
        "remove": (
            "ls /sys/fs/pstore | wc -l; rm /sys/fs/pstore/*; ls /sys/fs/pstore | wc -l; "
            "umount $efivars && mount -t efivarfs none $efivars && ls $efivars | grep -c ^dump-; true"
        ),
        "boot-loader": "insmod given/efibc.ko",
    }
    facts = ends_well(boots("cloud", "script,poweroff", script=read, files=modules, variables=store))
    text = facts.script["read"].output.decode()
    assert "the last words" in text
    assert "sysrq triggered crash" in text
    assert "Panic#1 Part1\n" in text
    assert facts.script["remove"].output.decode().split() == [str(len(dumps)), "0", "0"]
    left = Edk2VarStore(str(store)).get_varlist()
    assert [(name, str(one.guid)) for name, one in left.items()] == [("LoaderEntryRebootReason", LOADER)]
    assert left["LoaderEntryRebootReason"].data.decode("utf-16-le") == "shutdown"


@pytest.mark.parametrize(
    ("word", "kind"),
    [("efi,warm", ResetType.WARM), pytest.param("efi,cold", ResetType.COLD, marks=pytest.mark.full)],
)
def test_a_kernel_resets_by_efi_as_it_was_told(boots: Boots, word: str, kind: ResetType) -> None:
    booted = boots("cloud", "reboot", arguments=f"reboot={word}", restarts=False)
    assert booted.result.verdict.outcome is Outcome.REBOOTED  # and does not start anew
    assert booted.facts.boot.end == "reboot"
    last = booted.calls[-1]
    assert (last.service, dict(last.arguments)["ResetType"]) == ("ResetSystem", kind)
