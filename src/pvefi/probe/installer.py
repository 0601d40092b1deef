# SPDX-License-Identifier: GPL-2.0-or-later
"""Tells how far Debian's text-mode installer has come, by what it writes to a serial console.

With `console=ttyS0` alone the installer takes the console for a vt102 and draws at once, whether or not
anybody answers. The installer of Debian 12 asks for a language when the machine has 1 GiB of memory; with
512 or 768 MiB its first screen is one on low memory, and with 320 MiB the kernel cannot unpack its initrd.
"""

from __future__ import annotations

import re

__all__ = ["FIRST_LINE", "MEMORY_MIB", "installer_screens"]

FIRST_LINE = b"Starting system log daemon"
"""What busybox's init writes first: user space is up, some seconds before there is a screen."""
MEMORY_MIB = 1024
"""Enough for the question for a language."""

_TITLE = re.compile(rb"\[(?:!!?|\?|\.)\] ([A-Z][A-Za-z -]{2,60})")
_LAST_LINE = b"<Tab> moves; <Space> selects; <Enter> activates buttons"


def installer_screens(console: bytes) -> tuple[str, ...]:
    """Return the titles of the screens that were drawn to their end, such as "Select a language"."""
    titles = []
    for screen in console.split(_LAST_LINE)[:-1]:
        found = _TITLE.findall(screen)
        titles += [found[-1].decode().strip()] if found else []
    return tuple(titles)
