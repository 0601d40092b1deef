# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes sections as documents: HTML, Markdown and JSON; what they say was decided before."""

from pvefi.evaluate.report.document import document
from pvefi.evaluate.report.reports import Written, write_reports

__all__ = ["Written", "document", "write_reports"]
