# SPDX-License-Identifier: GPL-2.0-or-later
"""The document of `pvefi inject` as Markdown, for docs."""

from __future__ import annotations

from pvefi.evaluate.inject.document import SCHEMA, VERSION
from pvefi.evaluate.inject.tables import sections
from pvefi.evaluate.report.markdown import section_markdown
from pvefi.report.json_node import Node

__all__ = ["to_markdown"]


def to_markdown(document: Node, level: int = 2) -> str:
    """Return the document's sections, their titles at `level`; UsageError when it is no such document."""
    if (document.member("schema").value, document.member("version").value) != (SCHEMA, VERSION):
        document.unexpected(f"a document {SCHEMA} of version {VERSION}")
    return "\n".join(section_markdown(one, level) for one in sections(document))
