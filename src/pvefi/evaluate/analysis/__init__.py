# SPDX-License-Identifier: GPL-2.0-or-later
"""What an evaluation says: pure functions from it to the sections of a report."""

from __future__ import annotations

from pvefi.evaluate.analysis.arguments import arguments_section
from pvefi.evaluate.analysis.costs import costs_section
from pvefi.evaluate.analysis.handoffs import handoffs_section
from pvefi.evaluate.analysis.kernel_copy import kernel_copy_section
from pvefi.evaluate.analysis.matrix import matrix_section
from pvefi.evaluate.analysis.memory import memory_section
from pvefi.evaluate.analysis.messages import messages_section
from pvefi.evaluate.analysis.paths import paths_section
from pvefi.evaluate.analysis.services import services_section
from pvefi.evaluate.document import Section
from pvefi.evaluate.run import Evaluation

__all__ = ["sections"]

_SECTIONS = (
    matrix_section,
    paths_section,
    costs_section,
    handoffs_section,
    kernel_copy_section,
    messages_section,
    memory_section,
    services_section,
    arguments_section,
)


def sections(evaluation: Evaluation) -> tuple[Section, ...]:
    """Return every section of a report on `evaluation`, in the order in which they are read."""
    return tuple(made(evaluation) for made in _SECTIONS)
