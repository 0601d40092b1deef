# SPDX-License-Identifier: GPL-2.0-or-later
"""What an evaluation says: pure functions from it to the sections of a report."""

from __future__ import annotations

from pvefi.evaluate.analysis.handoffs import handoffs_section
from pvefi.evaluate.analysis.kernel_copy import kernel_copy_section
from pvefi.evaluate.analysis.matrix import matrix_section
from pvefi.evaluate.analysis.paths import paths_section
from pvefi.evaluate.document import Section
from pvefi.evaluate.run import Evaluation

__all__ = ["sections"]


def sections(evaluation: Evaluation) -> tuple[Section, ...]:
    """Return every section of a report on `evaluation`, in the order in which they are read."""
    return tuple(
        made(evaluation) for made in (matrix_section, paths_section, handoffs_section, kernel_copy_section)
    )
