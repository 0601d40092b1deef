# SPDX-License-Identifier: GPL-2.0-or-later
"""Tells by what a guest, Linux or Xen, says on its console how far it has come: user space, a panic, the end.

Sources: Linux 6.1 init/main.c (run_init_process), kernel/panic.c (panic), kernel/reboot.c,
arch/x86/kernel/reboot.c, init/version.c (linux_banner), kernel/kexec_core.c (kernel_kexec);
kernel/printk/printk.c (info_print_prefix) for what a line begins with. Xen 4.17
xen/drivers/char/console.c (panic).

A line that only quotes the kernel does not count: the text has to begin the line, behind a time stamp where
the kernel gives one. Nor does a line with a priority, "<4>", where the kernel gives none, or the other way
round: so stand old logs in pstore. Who forges a whole line is believed; nothing but the report rests on it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from pvefi.probe.lines import UP

__all__ = ["ConsoleMark", "ConsoleWatch", "MarkKind"]


class MarkKind(Enum):
    """What a line of the console says has happened."""

    USER_SPACE = "user space"
    """The kernel starts the first program; INIT_FAILED follows when there is none."""
    INIT_FAILED = "init failed"
    """That program could not be started; the kernel tries another, or panics."""
    PROBE = "probe"
    """pvefi's own probe is up."""
    PANIC = "panic"
    """The kernel panics; it restarts, or PANIC_STAYS follows."""
    PANIC_STAYS = "panic stays"
    """The kernel has panicked and stays as it is: nothing more will happen."""
    POWER_OFF = "power off"
    RESTART = "restart"
    HALT = "halt"
    KEXEC = "kexec"
    """The kernel starts another one by kexec."""
    KERNEL = "kernel"
    """A kernel begins, or somebody reads its log again with dmesg; of the same priority as KEXEC.

    A kernel that is told to be quiet, or to give no time stamps, does not say so.
    """


@dataclass(frozen=True)
class ConsoleMark:
    """Something that the console says has happened; `text` is the line without its time stamp."""

    kind: MarkKind
    text: str


_LONGEST = 4096
"""Bytes looked at of a line; the kernel's own are shorter (PRINTKRB_RECORD_MAX is 1024)."""
_CONTROL = re.compile(
    rb"\x1b\[[0-?]*[ -/]*[@-~]"  # ECMA-48 control sequences
    rb"|\x1b[\]P_^X][^\x07\x1b]*(?:\x07|\x1b\\)?"  # and strings
    rb"|\x1b[ -/]*[0-~]?"
    rb"|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f]"
)
_STAMP = re.compile(
    rb"(?:[^\n]{0,200}(?:[#$>]|login:) )?"  # a prompt, at which a kernel message goes on in the same line
    rb"(?P<priority><[0-7]>)?\[ *\d+\.\d{6}\](?:\[ *[TC]\d+\])? "
)
_LINES = (
    (MarkKind.USER_SPACE, re.compile(rb"Run \S.* as init process$")),
    (MarkKind.INIT_FAILED, re.compile(rb"Failed to execute \S.* \(error -?\d+\)$")),
    (MarkKind.INIT_FAILED, re.compile(rb"Starting init: \S.* exists but couldn't execute it")),
    (MarkKind.PANIC, re.compile(rb"Kernel panic - not syncing: ")),
    (MarkKind.PANIC_STAYS, re.compile(rb"---\[ end Kernel panic - not syncing")),
    (MarkKind.POWER_OFF, re.compile(rb"reboot: Power down$")),
    (MarkKind.KEXEC, re.compile(rb"kexec_core: Starting new kernel$")),
    (MarkKind.RESTART, re.compile(rb"reboot: (?:Restarting system|machine restart)")),
    (
        MarkKind.HALT,
        re.compile(rb"reboot: (?:System halted|Power off not available: System halted instead)$"),
    ),
)
_BANNER = re.compile(rb"(?:<[0-7]>)?\[ *0\.000000\](?:\[ *[TC]\d+\])? Linux version \S+ \(")
"""A kernel's first line; programs print the same text, but without its time."""
_XEN = b"(XEN) "
_XEN_BEGINS = re.compile(rb"Xen version \d")
_XEN_PANICS = re.compile(rb"Panic on CPU \d+:$")
"""What the panic is about follows in the next line."""
_XEN_STAYS = re.compile(rb"Manual reset required \('noreboot' specified\)$")
_BREAKS = re.compile(rb"[\r\n]+")


class ConsoleWatch:
    """Reads a guest's console as it comes, in pieces of any size; memory is bounded."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._stamped = False
        self._priorities = False
        self._probed = False
        self._xen = self._xen_panics = False

    @property
    def under_xen(self) -> bool:
        """Whether a Xen has told of its start here, which runs what else is told of."""
        return self._xen

    def feed(self, data: bytes) -> tuple[ConsoleMark, ...]:
        """Take what the guest has written and return what the lines that it completes say."""
        *complete, rest = _BREAKS.split(data)
        marks: list[ConsoleMark] = []
        for part in complete:
            self._keep(part)
            marks += self.end()
        self._keep(rest)
        return tuple(marks)

    def end(self) -> tuple[ConsoleMark, ...]:
        """Take the line so far as complete, as when the guest has ended, and return what it says."""
        line = _CONTROL.sub(b"", self._line).strip()
        self._line.clear()
        kind, text = self._kind(line)
        if kind is None:
            return ()
        if kind in (MarkKind.RESTART, MarkKind.KEXEC):
            self._stamped = self._probed = False  # another kernel may follow
        if kind is MarkKind.KERNEL:
            self._probed = False
        return (ConsoleMark(kind, text.decode("utf-8", "replace")),)

    def _keep(self, part: bytes) -> None:
        self._line += part[: _LONGEST - len(self._line)]

    def _kind(self, line: bytes) -> tuple[MarkKind | None, bytes]:
        if line.startswith(UP) and not self._probed:
            self._probed = True
            return MarkKind.PROBE, line
        if line.startswith(_XEN):  # Xen's lines stand between its dom0's
            return self._kind_of_xen(line.removeprefix(_XEN))
        stamp = _STAMP.match(line)
        if stamp is not None:
            priority = stamp["priority"] is not None
            if self._stamped and priority is not self._priorities:
                return None, line  # a log that is read, of this kernel or one before: dmesg, pstore
            self._stamped, self._priorities = True, priority
            if _BANNER.match(line):
                return MarkKind.KERNEL, line[stamp.end() :]
            line = line[stamp.end() :]
        elif self._stamped:
            return None, line  # not the kernel's: it gives every line a time stamp
        for kind, pattern in _LINES:
            if pattern.match(line):
                return kind, line
        return None, line

    def _kind_of_xen(self, line: bytes) -> tuple[MarkKind | None, bytes]:
        """Return what a line of the hypervisor says; nothing where none has begun."""
        if self._xen_panics:
            self._xen_panics = False
            return MarkKind.PANIC, b"Xen panics: " + line
        if _XEN_BEGINS.match(line):
            self._xen, self._stamped = True, False
        elif self._xen and _XEN_PANICS.match(line):
            self._xen_panics = True
        elif self._xen and _XEN_STAYS.match(line):
            return MarkKind.PANIC_STAYS, line
        return None, line
