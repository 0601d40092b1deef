# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes what xl makes a domain of: xl.cfg(5)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["DomainConfig", "quoted"]


@dataclass(frozen=True)
class DomainConfig:
    """A domain, of `kind` pvh or pv, with `memory_size` bytes of memory.

    `base` is text of an xl configuration, the user's, which xl reads first: it takes the last of several
    assignments to one name (tools/libs/util/libxlu_cfg.c, xlu__cfg_set_store and find), so that what is said
    here wins and all else of it is kept. `more` are further lines, which win over all. A size, a number of
    CPUs or a name that is None is the base's.
    """

    kernel: Path
    name: str
    kind: str = "pvh"
    memory_size: int | None = None
    cpus: int | None = None
    command_line: str = ""
    ramdisk: Path | None = None
    disks: tuple[str, ...] | None = None
    base: str = ""
    more: tuple[str, ...] = ()
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))

    def text(self) -> str:
        """Return the file."""
        lines = [
            f"type = {quoted(self.kind)}",
            f"name = {quoted(self.name)}",
            f"uuid = {quoted(self.uuid)}",
            f"kernel = {quoted(str(self.kernel))}",
            f"ramdisk = {quoted(str(self.ramdisk or ''))}",
            f"cmdline = {quoted(self.command_line)}",
        ]
        if self.memory_size is not None:
            lines += [f"memory = {self.memory_size >> 20}", f"maxmem = {self.memory_size >> 20}"]
        if self.cpus is not None:
            lines += [f"vcpus = {self.cpus}", f"maxvcpus = {self.cpus}"]
        if self.disks is not None:
            lines.append(f"disk = [ {', '.join(map(quoted, self.disks))} ]")
        # Nobody but pvefi ends it: xl, told not to wait for its end, would not do so anyhow.
        lines += [
            f'on_{event} = "preserve"' for event in ("poweroff", "reboot", "crash", "watchdog", "soft_reset")
        ]
        return "\n".join(filter(None, (self.base, *lines, *self.more))) + "\n"


def quoted(text: str) -> str:
    """Return a string of xl.cfg; the escapes are those of tools/libs/util/libxlu_cfg.c, xlu__cfgl_dequote."""
    out = text.replace("\\", "\\\\").replace('"', '\\"')
    for character, letter in (("\n", "n"), ("\r", "r"), ("\t", "t")):
        out = out.replace(character, f"\\{letter}")
    return f'"{out}"'
