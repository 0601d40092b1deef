# SPDX-License-Identifier: GPL-2.0-or-later
"""What tests of the machine `qemu` ask for by name."""

from __future__ import annotations

import pytest

from pvefi.machines.qemu.installation import Installation, find_qemu
from tests.conftest import Tool


@pytest.fixture
def qemu(tool: Tool) -> Installation:
    """Return the real QEMU, or skip the test where there is none."""
    return find_qemu(tool("qemu-system-x86_64"))
