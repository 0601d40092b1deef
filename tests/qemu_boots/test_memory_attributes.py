# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel maps runtime memory as EFI_MEMORY_ATTRIBUTES_TABLE has it; runtime services work after that."""

from __future__ import annotations

import re

import pytest

from pvefi.probe.messages import WARNING
from tests.qemu_boots.conftest import Boots
from tests.qemu_boots.test_entries import KERNELS, ends_well, keeps_variables

ENTRY = re.compile(r"efi: memattr: (.)? *0x[0-9a-f]+-0x[0-9a-f]+ \[(\w+ \w+) *\|([^\]]*)\]")
"""Linux drivers/firmware/efi/memattr.c, with efi=debug: "!" for an entry that it does not take."""


@pytest.mark.parametrize(
    "kernel", [name if name == "cloud" else pytest.param(name, marks=pytest.mark.full) for name in KERNELS]
)
def test_the_table_is_applied_without_complaint(boots: Boots, kernel: str) -> None:
    facts = ends_well(boots(kernel, "log,efivars,poweroff", arguments="efi=debug"))
    assert facts.log
    ours = [message for message in facts.log if message.text.startswith("efi: memattr:")]
    assert ours[0].text == "efi: memattr: Processing EFI Memory Attributes table:"
    assert all(message.level > WARNING for message in ours)
    found = [match for message in ours[1:] if (match := ENTRY.fullmatch(message.text))]
    assert len(found) == len(ours) - 1
    assert [(match[2], set(match[3].replace(" ", "").split("|")) - {""}) for match in found] == [
        ("Runtime Code", {"RUN", "RO"}),
        ("Runtime Data", {"RUN", "XP"}),
    ]
    assert all(match[1] != "!" for match in found)
    keeps_variables(facts.variables)
