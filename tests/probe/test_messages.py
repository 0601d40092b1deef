# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel messages on EFI are told from others, and two boots' are made comparable."""

from __future__ import annotations

import pytest

from pvefi.probe.messages import KernelMessage, efi_messages, efi_warnings, kernel_messages, normalised

RAW = (
    "<6>[    0.000000] Command line: console=ttyS0 efi=debug",
    "<6>[    0.000000] efi: EFI v2.70 by EDK II",
    "<4>[    0.100000] efi: memattr: Entry attributes invalid: RO and XP bits both cleared",
    "<3>[    0.200000] efi: [Firmware Bug]: Invalid EFI memory map entries at 0x7f8a2000",
    "<3>[    0.300000] efi: [Firmware Bug]: Invalid EFI memory map entries at 0x7f000000",
    "<4>[    0.400000] mtrr: your CPUs had inconsistent MTRRdefType settings",
    "<6>[    0.500000] clocksource: refined-jiffies: mask: 0xffffffff",
    "<30>[    1.000000] init: efivarfs is mounted",
    "<7>[    1.100000]     probe=efivars",
    "no message at all",
)


def test_raw_lines_become_messages_with_their_level() -> None:
    messages = kernel_messages(RAW)
    assert len(messages) == len(RAW) - 1
    assert messages[2].level == 4
    assert messages[7] == KernelMessage(6, 1.0, "init: efivarfs is mounted")


def test_a_kernel_without_times_is_read_too() -> None:
    assert kernel_messages(["<5>efi: EFI v2.70"]) == (KernelMessage(5, None, "efi: EFI v2.70"),)


def test_messages_on_efi_are_told_from_those_that_repeat_the_command_line() -> None:
    texts = [message.text for message in efi_messages(kernel_messages(RAW))]
    assert [text[:12] for text in texts] == [
        *("efi: EFI v2.", "efi: memattr", "efi: [Firmwa", "efi: [Firmwa", "init: efivar")
    ]


def test_warnings_are_normalised_and_named_once() -> None:
    assert efi_warnings(kernel_messages(RAW)) == (
        "efi: memattr: Entry attributes invalid: RO and XP bits both cleared",
        "efi: [Firmware Bug]: Invalid EFI memory map entries at 0x…",
    )


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("efi: mem00: [0x0000-0x9ffff] (1MB)", "efi: mem00: [0x…-0x…] (…MB)"),
        ("efi: Freeing EFI boot services memory: 50140K", "efi: Freeing EFI boot services memory: …K"),
        ("remap [mem 7ff8c000-7ff9b000]", "remap [mem …-…]"),
        ("Registered efivars operations ", "Registered efivars operations"),
    ],
)
def test_addresses_and_amounts_do_not_count(text: str, same: str) -> None:
    assert normalised(text) == same
