# SPDX-License-Identifier: GPL-2.0-or-later
"""A user space of one script that says on the console what a kernel was given, and reads what it said.

`initrd` builds it around busybox and a kernel's own modules; `facts` finds its lines in console text again.
"""

from __future__ import annotations
