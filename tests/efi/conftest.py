# SPDX-License-Identifier: GPL-2.0-or-later
"""A fresh guest for each test."""

from __future__ import annotations

import pytest

from .boot.guest import FakeGuest


@pytest.fixture
def guest() -> FakeGuest:
    return FakeGuest()
