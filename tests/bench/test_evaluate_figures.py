# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures of evaluations: ratios within a round, and what counts as work thrown away."""

from __future__ import annotations

import pytest

from bench.evaluate_figures import (
    EvaluateRound,
    EvaluateSamples,
    KilledWorker,
    MinimiseRound,
    ReportSample,
    evaluate_figures_of,
    evaluate_tables_of,
)
from bench.evaluate_report import multiplied
from bench.figures import Figure
from tests.build.evaluation import evaluation, image, result

SAMPLES = EvaluateSamples(
    evaluations=(EvaluateRound(12.0, (4.0, 4.0, 4.0, 4.0, 4.0)), EvaluateRound(14.0, (5.0,) * 4)),
    minimisations=(MinimiseRound(110.0, 100.0, 400.0, 90), MinimiseRound(120.0, None, None, 90)),
    reports=(ReportSample(2_500_000, (0.5, 0.7, 0.6)),),
    kills=(KilledWorker(9, 1, 10), KilledWorker(9, 2, 11)),
)
NOTHING = EvaluateSamples((), (), (), ())


def by_name(samples: EvaluateSamples) -> dict[str, Figure]:
    return {figure.name: figure for figure in evaluate_figures_of(samples)}


def test_two_jobs_are_compared_with_half_of_the_boots_of_their_round() -> None:
    assert by_name(SAMPLES)["evaluate-two-jobs"].values == pytest.approx((1.2, 1.4))


def test_minimising_is_compared_with_whole_boots_where_those_were_run() -> None:
    figures = by_name(SAMPLES)
    assert figures["minimise"].values == (110.0, 120.0)
    assert figures["minimise-whole-boots"].values == (0.25,)
    assert figures["minimise-whole-boots"].met


def test_the_boots_that_ran_on_the_killed_worker_are_not_thrown_away_work() -> None:
    assert by_name(SAMPLES)["worker-killed"].values == (0, 0)
    assert KilledWorker(9, 1, 11).thrown_away == 1


def test_the_report_s_size_is_in_megabytes() -> None:
    figures = by_name(SAMPLES)
    assert figures["report-size"].values == (2.5,)
    assert figures["report-load"].median == 0.6


def test_what_was_not_measured_has_no_values_and_no_table() -> None:
    assert not any(figure.values for figure in evaluate_figures_of(NOTHING))
    assert evaluate_tables_of(NOTHING) == []


def test_the_tables_have_what_the_ratios_are_made_of() -> None:
    together, minimised, killed = evaluate_tables_of(SAMPLES)
    assert together.rows == (("13.00", "20.00", "5"),)
    assert minimised.rows == (("110.0", "100.0", "400.0", "90"), ("120.0", "-", "-", "90"))
    assert killed.rows[0] == ("9", "1", "10")


def test_twenty_images_have_the_results_of_one_under_names_and_hashes_of_their_own() -> None:
    one = image()
    many = multiplied(evaluation([one], [result(one), result(one, "linux64")]), 20)
    assert (
        len({file.file.sha256 for file in many.images}) == len({file.file.name for file in many.images}) == 20
    )
    assert len(many.results) == len({found.task.id for found in many.results}) == 40
    assert {found.task.image for found in many.results} == {file.file for file in many.images}
