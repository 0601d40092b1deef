# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/variables.md has a row for every difference that a test lets pass, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from tests.variables_against_ovmf.differences import RULES
from tests.variables_against_ovmf.known import KNOWN
from tests.variables_against_ovmf.known_signed import known_signed
from tests.variables_against_ovmf.signed import people
from tests.variables_against_ovmf.test_signed_operations import NO_KEK

PAGE = Path(__file__).resolve().parents[2] / "docs" / "variables.md"


def test_the_page_lists_what_the_tests_know_and_nothing_else() -> None:
    _, _, differences = PAGE.read_text().partition("## Where OVMF differs\n")
    rows = re.findall(r"^\| ([^|]+) \|", differences, re.MULTILINE)
    listed = [row for row in rows if row != "what"]
    assert len(set(listed)) == len(listed)
    assert set(listed) == {one.title for one in (*KNOWN, *known_signed(people()))} | RULES | {NO_KEK}
