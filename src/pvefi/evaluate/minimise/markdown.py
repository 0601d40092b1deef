# SPDX-License-Identifier: GPL-2.0-or-later
"""What `pvefi minimise` has found as Markdown, from its document."""

from __future__ import annotations

from pvefi.evaluate.minimise.document import SCHEMA, VERSION
from pvefi.evaluate.minimise.tables import sections
from pvefi.evaluate.report.markdown import section_markdown
from pvefi.report.json_node import Node

__all__ = ["to_markdown"]


def to_markdown(document: Node, level: int = 2) -> str:
    """Return the findings as Markdown with headings from `level` on; UsageError for no such document."""
    if (document.member("schema").value, document.member("version").value) != (SCHEMA, VERSION):
        document.unexpected(f"a document {SCHEMA} of version {VERSION}")
    return "\n".join(section_markdown(section, level) for section in sections(document))
