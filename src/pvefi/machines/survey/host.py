# SPDX-License-Identifier: GPL-2.0-or-later
"""The facts of a host that matter for booting guests on it."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Host", "survey_host"]


@dataclass(frozen=True)
class Host:
    """A host. Sizes are in bytes, 0 where they are not known; `cores` are those that this process may use."""

    system: str
    kernel: str
    architecture: str
    python: str
    processor: str
    cores: int
    memory_size: int
    memory_available: int


def survey_host(proc: Path = Path("/proc")) -> Host:
    """Return what this host is."""
    name = platform.uname()
    try:
        system = platform.freedesktop_os_release().get("PRETTY_NAME", name.system)
    except OSError:
        system = name.system
    memory = _read(proc / "meminfo")
    return Host(
        system=system,
        kernel=f"{name.system} {name.release}",
        architecture=name.machine,
        python=platform.python_version(),
        processor=_field(_read(proc / "cpuinfo"), "model name") or name.machine,
        cores=len(os.sched_getaffinity(0)),
        memory_size=_kilobytes(_field(memory, "MemTotal")),
        memory_available=_kilobytes(_field(memory, "MemAvailable")),
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _field(text: str, name: str) -> str:
    """Return what stands behind the first `name` of a file such as /proc/meminfo, or ""."""
    match = re.search(rf"^{re.escape(name)}[ \t]*:[ \t]*(.*)$", text, re.MULTILINE)
    return match[1].strip() if match else ""


def _kilobytes(text: str) -> int:
    """Return "123 kB" in bytes."""
    number = text.partition(" ")[0]
    return int(number) * 1024 if number.isascii() and number.isdigit() else 0
