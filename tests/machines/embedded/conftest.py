# SPDX-License-Identifier: GPL-2.0-or-later
"""The assembler of tests that need more guest code than a few bytes."""

from __future__ import annotations

import pytest

from tests.conftest import Tool
from tests.machines.made import Assembler


@pytest.fixture
def assemble(tool: Tool) -> Assembler:
    return Assembler(tool("as"), tool("ld"))
