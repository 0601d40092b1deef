# SPDX-License-Identifier: GPL-2.0-or-later
"""What a boot's trace consists of: one frozen event a service call, in the order the guest made them."""

from __future__ import annotations

from dataclasses import dataclass

from pvefi.layout import Guid
from pvefi.spec.uefi.status import EfiStatus

__all__ = [
    "INJECTED",
    "NOT_IMPLEMENTED",
    "OUTSIDE_PROFILE",
    "Address",
    "TEXT_KEPT",
    "CallEvent",
    "Value",
    "cut",
]

OUTSIDE_PROFILE = "outside the profile"
NOT_IMPLEMENTED = "not implemented"
"""What `CallEvent.why` contains when a service or protocol is not on offer at all."""

INJECTED = "injected"
"""What `CallEvent.why` begins with when the call was made to fail: "injected", or more after a colon."""


class Address(int):
    """A guest address, so that whoever prints it writes hexadecimal."""


TEXT_KEPT = 1024
"""Characters of one string or reason that an event keeps; Linux takes no longer command line than 2048."""


def cut(text: str) -> str:
    """Return `text` as an event keeps it: what is too long ends in an ellipsis and its length."""
    return text if len(text) <= TEXT_KEPT else f"{text[:TEXT_KEPT]}... ({len(text):,} characters)"


Value = int | str | bytes | bool | Guid | None
"""An argument or output: Address and enumeration members are integers that know how to be printed."""


@dataclass(frozen=True, slots=True)
class CallEvent:
    """One call of an EFI service or protocol function.

    `index` counts from 1 through one boot. `service` is the specification's name, "GetMemoryMap" or
    "EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL.OutputString". `status` is None for functions that return none
    (`result` then holds what they return, if anything). `host_us` is the host's time in microseconds,
    guest upcalls left out; `instructions` is the guest's count since its first instruction, None when
    not counted. `why` is the reason of a refusal, or ''. `depth` is the number of upcalls around the call.
    """

    index: int
    service: str
    arguments: tuple[tuple[str, Value], ...]
    status: EfiStatus | None
    result: int | None
    outputs: tuple[tuple[str, Value], ...]
    host_us: float
    instructions: int | None
    why: str
    depth: int
