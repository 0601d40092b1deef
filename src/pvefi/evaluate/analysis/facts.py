# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel itself says of a boot: the guest's files, read with care, since a guest wrote them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from pvefi.evaluate.task import TaskKind, TaskResult
from pvefi.probe.messages import KernelMessage, kernel_messages
from pvefi.probe.witness import KERNEL_LOG, KernelText, kernel_text
from pvefi.spec.linux.boot_params import BootParams
from pvefi.spec.linux.setup_data import SetupDataType

__all__ = ["KernelFacts", "facts_of", "kernel_facts"]

_BOOT_PARAMS = "/sys/kernel/boot_params/data"
_SETUP_DATA = "/sys/kernel/boot_params/setup_data/"
_EFI = "/sys/firmware/efi/"
_MEMORY = "/proc/meminfo"
_AMOUNT = re.compile(r"(\w{1,40}(?:\(\w{1,40}\))?): +(\d{1,15}) kB")
_KIB = 1024
_LINES_AT_MOST, _LINE_LENGTH = 20_000, 1024
"""Of a kernel's log; printk writes no longer line (Linux LOG_LINE_MAX)."""
_NODES_AT_MOST = 256
_KEPT = 512
"""Every section reads the same boots: so many are not read anew by each."""


@dataclass(frozen=True)
class KernelFacts:
    """One boot as its kernel tells it; what it does not tell is None, or empty.

    `setup_data` are the types of that list's nodes. `memory` is /proc/meminfo in bytes, `messages` the log.
    `has_efi` says whether the kernel shows EFI at all. `text` is where its code stands.
    """

    boot_params: BootParams | None
    setup_data: tuple[SetupDataType, ...]
    text: KernelText | None
    memory: Mapping[str, int]
    messages: tuple[KernelMessage, ...]
    has_efi: bool

    def said(self, pattern: str) -> str:
        """Return the first message in which the regular expression `pattern` is found; empty for none."""
        return next((one.text for one in self.messages if re.search(pattern, one.text)), "")


def kernel_facts(result: TaskResult) -> KernelFacts | None:
    """Return what the kernel of this boot says; None where it was not asked, or could not say it."""
    files = result.files
    if not files:
        return None
    page = files.get(_BOOT_PARAMS, b"")
    return KernelFacts(
        boot_params=_zero_page(page) if len(page) == BootParams.SIZE else None,
        setup_data=_setup_data(files),
        text=kernel_text(files),
        memory={
            name: int(amount) * _KIB
            for name, amount in _AMOUNT.findall(files.get(_MEMORY, b"").decode("ascii", "replace"))
        },
        messages=_messages(files.get(KERNEL_LOG, b"")),
        has_efi=any(path.startswith(_EFI) for path in files),
    )


def facts_of(results: Iterable[TaskResult]) -> KernelFacts | None:
    """Return what the kernel says in the first of these boots that was made for it, or in any other."""
    told = [result for result in results if result.files]
    told.sort(key=lambda result: result.task.kind is not TaskKind.FACTS)
    return kernel_facts(told[0]) if told else None


@lru_cache(_KEPT)
def _zero_page(page: bytes) -> BootParams:
    return BootParams.unpack(page)


def _setup_data(files: Mapping[str, bytes]) -> tuple[SetupDataType, ...]:
    found = []
    for number in range(_NODES_AT_MOST):
        told = files.get(f"{_SETUP_DATA}{number}/type")
        if told is None:
            break
        try:
            found.append(SetupDataType(int(told.decode("ascii", "replace").strip(), 0) & 0xFFFF_FFFF))
        except ValueError:
            continue
    return tuple(found)


@lru_cache(_KEPT)
def _messages(log: bytes) -> tuple[KernelMessage, ...]:
    lines = log.decode("utf-8", "replace").splitlines()[:_LINES_AT_MOST]
    return kernel_messages(line[:_LINE_LENGTH] for line in lines)
