# SPDX-License-Identifier: GPL-2.0-or-later
"""The exit statuses of `pvefi`; the documentation's table is made from this one."""

from __future__ import annotations

from enum import IntEnum
from typing import Self

__all__ = ["ExitStatus"]


class ExitStatus(IntEnum):
    """What the process says to its caller; `meaning` is the sentence in the documentation."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> Self:
        """Make a member out of its number and its meaning."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    OK = 0, "what was asked for happened"
    GUEST_FAILED = (
        1,
        "the guest failed: a fault, a dead end, or a status other than EFI_SUCCESS; of `diff`: they differ; "
        "of `inject`: a fault made the guest crash or hang",
    )
    DIFFERENT = GUEST_FAILED
    BAD_INPUT = 2, "a file or an option is at fault; nothing was run, or nothing more"
    NO_MACHINE = 3, "the machine is not available, or failed for reasons outside the guest"
    BUG = 70, "a bug of pvefi; PVEFI_DEBUG=1 shows the traceback that a report needs"
    TIMEOUT = 124, "the time ran out: that of --timeout, or 300 seconds"
    HUNG_UP = 129, "ended by SIGHUP, as when the terminal goes"
    INTERRUPTED = 130, "interrupted by Ctrl-C"
    BROKEN_PIPE = 141, "whoever read the output has gone; nothing is said"
    TERMINATED = 143, "ended by SIGTERM"
