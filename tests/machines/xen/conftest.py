# SPDX-License-Identifier: GPL-2.0-or-later
"""A control domain in a folder, whose xl is first on PATH."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machines.xen.dom0 import Dom0


@pytest.fixture
def dom0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Dom0]:
    """Give a control domain."""
    made = Dom0(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    yield made
    made.close()
