# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads kernel messages, and says which are on EFI in a form that two boots can be compared by.

Source: Linux Documentation/ABI/testing/dev-kmsg, the levels; `dmesg -r` writes `<LEVEL>[SECONDS] TEXT`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["KernelMessage", "WARNING", "efi_messages", "efi_warnings", "kernel_messages", "normalised"]

WARNING = 4
"""KERN_WARNING; a lower level is worse."""

_RAW = re.compile(r"<(\d{1,4})>(?:\[ *(\d{1,9}\.\d{1,9})\] ?)?(.*)")
_LEVEL_BITS = 7
_ABOUT_EFI = re.compile(
    r"(?<![a-z])u?efi(?![a-z])|efivar|efifb|secure ?boot|MEMATTR|ESRT|runtime services", re.I
)
_FROM_COMMAND_LINE = re.compile(r"(?:Kernel c|C)ommand line:|Unknown kernel command line|^ {2,}\w+=")
_NUMBERS = (
    (re.compile(r"\b0x[0-9a-f]+\b", re.IGNORECASE), "0x…"),
    (re.compile(r"\b[0-9a-f]{8,16}\b", re.IGNORECASE), "…"),
    (re.compile(r"\b\d+(?=[KMG]i?B?\b)"), "…"),
)


@dataclass(frozen=True, slots=True)
class KernelMessage:
    """One message: its level (0 is the worst), the kernel's seconds where it has them, its text."""

    level: int
    seconds: float | None
    text: str


def kernel_messages(lines: Iterable[str]) -> tuple[KernelMessage, ...]:
    """Return the messages of `dmesg -r`; a line that is none is left out."""
    found = (_RAW.fullmatch(line) for line in lines)
    return tuple(
        KernelMessage(int(match[1]) & _LEVEL_BITS, float(match[2]) if match[2] else None, match[3])
        for match in found
        if match
    )


def efi_messages(messages: Iterable[KernelMessage]) -> tuple[KernelMessage, ...]:
    """Return the messages on EFI; those that only repeat the command line are none."""
    return tuple(
        message
        for message in messages
        if _ABOUT_EFI.search(message.text) and not _FROM_COMMAND_LINE.search(message.text)
    )


def efi_warnings(messages: Iterable[KernelMessage]) -> tuple[str, ...]:
    """Return the texts of warnings and worse on EFI, normalised, each once, in their order.

    A boot is as good as another when it has no warning that the other one lacks.
    """
    texts = (normalised(message.text) for message in efi_messages(messages) if message.level <= WARNING)
    return tuple(dict.fromkeys(texts))


def normalised(text: str) -> str:
    """Return a message without what differs from boot to boot: addresses and amounts of memory."""
    for pattern, instead in _NUMBERS:
        text = pattern.sub(instead, text)
    return text.strip()
