# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures are made of samples as the documentation says; no clock is looked at here."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.figures import Figure, all_met, figures_of, to_json
from tests.bench.made import boot_sample, samples


def by_name(*boots: object, **changes: object) -> dict[str, Figure]:
    made = replace(samples(*boots), **changes)  # type: ignore[arg-type]  # the fields' types differ
    return {figure.name: figure for figure in figures_of(made)}


def test_the_share_outside_the_emulator_is_in_percent_of_the_whole() -> None:
    assert by_name(boot_sample(2.0, 0.02))["host-share"].median == pytest.approx(1.0)


def test_the_figure_is_the_median_of_its_repeats() -> None:
    assert by_name()["inspect"].median == 0.2
    assert by_name()["inspect"].spread == "0.100 to 0.300"


def test_a_service_s_time_is_the_median_over_all_calls_of_a_boot() -> None:
    figures = by_name(boot_sample(service_us=12.0))
    assert figures["service"].values == (12.0,)
    assert figures["get-memory-map"].values == (36.0,)


def test_a_figure_at_its_limit_is_missed() -> None:
    figures = by_name(boot_sample(service_us=20.0))
    assert figures["service"].met is False
    assert not all_met(figures.values())
    assert by_name(boot_sample(service_us=19.9))["service"].met is True


def test_a_figure_without_a_target_is_neither_met_nor_missed() -> None:
    assert by_name()["boot"].met is None
    assert all_met(by_name().values())


def test_a_figure_that_was_not_measured_counts_as_missed() -> None:
    figures = by_name(replace(boot_sample(), calls=()))
    assert figures["get-memory-map"].values == ()
    assert not all_met(figures.values())


def test_numbers_are_written_with_their_unit() -> None:
    figures = by_name()
    assert figures["anonymous-memory"].text(50_123_000 / 1e6) == "50.1 MB"
    assert figures["instructions-to-image"].text(1234.0) == "1,234"


def test_the_document_has_every_figure_that_was_measured() -> None:
    document = to_json({}, {}, figures_of(samples(replace(boot_sample(), calls=()))))
    figures = document["figures"]
    assert isinstance(figures, list)
    names = [figure["name"] for figure in figures]
    assert "host-share" in names
    assert "get-memory-map" not in names
    assert document["met"] is False
