# SPDX-License-Identifier: GPL-2.0-or-later
"""All that is known of one image by one entry, over machines and boots: what rows by entry are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pvefi.evaluate.analysis.calls import Call, calls_with
from pvefi.evaluate.analysis.facts import KernelFacts, facts_of, kernel_facts
from pvefi.evaluate.analysis.results import Stage, document_of, of, stage
from pvefi.evaluate.run import Evaluation, ImageFacts
from pvefi.evaluate.task import TaskKind, TaskResult
from pvefi.report.boot_document import HandoffDocument
from pvefi.spec.linux.boot_params import BootParams

__all__ = ["View", "views"]

_KERNEL_MAP = 0xFFFFFFFF80000000
"""__START_KERNEL_map: Linux Documentation/arch/x86/x86_64/mm.rst, "kernel text mapping"."""


@dataclass(frozen=True)
class View:
    """One image by one entry.

    `handoff` is the hand-off on `machine`, `facts` what the kernel says there; `calls` are the service calls
    of a whole boot, or as far as one went. `slides` and `virtual_slides` have by how many bytes the kernel
    was moved, physically and virtually, one for each boot that tells it.
    """

    entry: str
    machine: str
    results: tuple[TaskResult, ...]
    handoff: HandoffDocument | None
    facts: KernelFacts | None
    calls: tuple[Call, ...]
    slides: tuple[int, ...]
    virtual_slides: tuple[int, ...]

    @property
    def boot_params(self) -> BootParams | None:
        """The zero page as the kernel got it: as it says itself, else as it was recorded."""
        if self.facts is not None and self.facts.boot_params is not None:
            return self.facts.boot_params
        return self.handoff.boot_params if self.handoff is not None else None

    @property
    def ran(self) -> bool:
        """Whether anything ran at all."""
        return any(stage(result) is not Stage.NOTHING for result in self.results)


def views(evaluation: Evaluation, image: ImageFacts) -> list[View]:
    """Return a view for each entry that an image was booted by, on the machine that tells most of it."""
    results = of(evaluation, image)
    linked = _linked(results)
    found = []
    for entry in dict.fromkeys(result.task.entry for result in results):
        own = [result for result in results if result.task.entry == entry]
        machine = max(dict.fromkeys(result.task.machine for result in own), key=lambda name: _told(own, name))
        here = [result for result in own if result.task.machine == machine]
        document = document_of(result for result in here if result.task.kind is TaskKind.HANDOFF)
        slides = list(_slides(own, linked))
        found.append(
            View(
                entry=entry,
                machine=machine,
                results=tuple(own),
                handoff=document.handoff if document is not None else None,
                facts=facts_of(here),
                calls=calls_with(here),
                slides=tuple(physical for physical, _ in slides),
                virtual_slides=tuple(virtual for _, virtual in slides if virtual is not None),
            )
        )
    return found


def _told(results: list[TaskResult], machine: str) -> int:
    """Return how much the boots on a machine tell: the kernel's own words more than the hand-off."""
    here = [result for result in results if result.task.machine == machine]
    return 2 * any(result.files for result in here) + (document_of(here) is not None)


def _linked(results: list[TaskResult]) -> int | None:
    """Return the physical address at which an image's kernel was linked to stand."""
    document = document_of(results)
    if document is not None and document.handoff is not None:
        return document.handoff.proof.linked_address
    for result in results:
        facts = kernel_facts(result)
        if facts is not None and facts.boot_params is not None and facts.boot_params.hdr.pref_address:
            return facts.boot_params.hdr.pref_address
    return None


def _slides(results: list[TaskResult], linked: int | None) -> Iterator[tuple[int, int | None]]:
    """Yield for each boot that tells it by how much the kernel was moved, physically and virtually."""
    for result in results:
        document = document_of([result])
        if document is not None and document.handoff is not None:
            yield document.handoff.proof.slide, document.handoff.proof.virtual_slide
            continue
        facts = kernel_facts(result)
        if facts is not None and facts.text is not None and linked is not None:
            virtual = facts.text.virtual_address - _KERNEL_MAP - linked
            yield facts.text.physical_address - linked, virtual
