# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux's own way to hand capsules to firmware: it asks, hears that they are not supported, and goes on."""

from __future__ import annotations

from pvefi.layout import Guid
from pvefi.spec.uefi.capsule import CapsuleFlag, CapsuleHeader
from pvefi.spec.uefi.status import EfiStatus
from tests.conftest import RealFiles
from tests.qemu_boots.conftest import Boots
from tests.qemu_boots.test_entries import ends_well, keeps_variables

FIRMWARE_MANAGEMENT = Guid.parse("6dcbd5ed-e82d-4c44-bda1-7194199ad92a")  # UEFI 2.10 §23.3


def test_the_kernel_s_capsule_loader_hears_that_none_is_supported(boots: Boots, corpus: RealFiles) -> None:
    data = bytes(100)
    header = CapsuleHeader(FIRMWARE_MANAGEMENT, 28, CapsuleFlag.PERSIST_ACROSS_RESET, 28 + len(data))
    script = {
        "load": "insmod /given/capsule-loader.ko && ls /dev/efi_capsule_loader",
        "hand": "cat /given/capsule > /dev/efi_capsule_loader",
    }
    booted = boots(
        "cloud",
        "script,efivars,poweroff",
        script=script,
        files={
            "given/capsule-loader.ko": corpus.file("cloud-efi-modules", "*/capsule-loader.ko*").read_bytes(),
            "given/capsule": header.pack() + data,
        },
    )
    facts = ends_well(booted)
    assert facts.script["load"].output == b"/dev/efi_capsule_loader\n"
    # Linux drivers/firmware/efi/capsule-loader.c: EINVAL for what QueryCapsuleCapabilities refuses.
    assert b"Invalid argument" in facts.script["hand"].error
    (asked,) = (one for one in booted.calls if "Capsule" in one.service)
    assert (asked.service, asked.status) == ("QueryCapsuleCapabilities", EfiStatus.UNSUPPORTED)
    assert str(FIRMWARE_MANAGEMENT) in asked.why  # read through the kernel's own pointers
    keeps_variables(facts.variables)
