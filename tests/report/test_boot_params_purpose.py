# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from pvefi.report.boot_params import boot_params_fields
from pvefi.report.boot_params_purpose import HALVES, PLACES, purpose_of
from tests.report.made import boot_params

NAMES = {field.name for field in boot_params_fields(boot_params())}


def test_every_field_has_a_purpose_in_a_few_words() -> None:
    for name in NAMES - set(HALVES.values()):
        assert 0 < len(purpose_of(name)) <= 48, name


def test_places_and_halves_are_fields() -> None:
    assert NAMES >= PLACES
    assert set(HALVES) | set(HALVES.values()) <= NAMES


def test_a_field_that_nobody_knows_has_no_purpose() -> None:
    assert purpose_of("hdr.nothing") == ""
