# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from pvefi.report.boots import render_all
from pvefi.verdict import Outcome
from tests.report.made import result

BOOTS = [
    replace(result(), entry="efi-handover64"),
    replace(result(Outcome.FAULTED, "page fault at vmlinuz+0x1000"), entry="linux64"),
]


def table(width: int | None) -> list[str]:
    file = io.StringIO()
    render_all(BOOTS, Console(file=file, width=width, force_terminal=width is not None))
    return re.sub(r"\x1b\[[0-9;]*m", "", file.getvalue()).splitlines()


def test_outside_a_terminal_the_table_has_every_column() -> None:
    _, head, *_ = table(None)
    assert head.split()[-5:] == ["at", "slide", "seconds", "calls", "instructions"]


@pytest.mark.parametrize("width", [80, 70])
def test_on_a_narrow_terminal_it_has_fewer(width: int) -> None:
    lines = table(width)
    assert max(map(len, lines)) <= width
    assert lines[2].startswith("efi-handover64  hand-off")
    assert "kernel entered at" in lines[1]
    assert "calls" not in lines[1]
    assert lines[-1] == "linux64: page fault at vmlinuz+0x1000"
