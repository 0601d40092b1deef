# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures evaluations: whole processes of pvefi, a page in Chromium, and a cluster that loses a worker."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.evaluate_figures import (
    EvaluateRound,
    EvaluateSamples,
    KilledWorker,
    MinimiseRound,
    ReportSample,
)
from bench.qemu_run import BenchError
from pvefi.evaluate.engines.cluster import ClusterEngine
from pvefi.evaluate.engines.engine import Finished, Lost, Started
from pvefi.evaluate.task import FileRef, Task, TaskKind
from tests.evaluate.engines.dask_processes import cluster_in

__all__ = ["EvaluateEffort", "measure_evaluate"]

_HERE = Path(__file__).resolve().parent
_ENTRIES = ("efi", "efi-handover", "linux64", "kexec", "linux32")
_ANSWERED = (0, 1)
_WORKERS, _TASKS = 3, 9
_KILLED_AT = 2  # results that are there when a worker is killed


@dataclass(frozen=True)
class EvaluateEffort:
    """How often each is measured; the experiments as whole boots once, if at all."""

    evaluations: int
    minimisations: int
    whole_boots: bool
    loads: int
    kills: int


def measure_evaluate(image: Path, effort: EvaluateEffort, say: Callable[[str], None]) -> EvaluateSamples:
    """Return what was measured; BenchError when something could not run."""
    with tempfile.TemporaryDirectory(prefix="pvefi-bench-") as folder:
        scratch = Path(folder)
        evaluations = []
        for number in range(effort.evaluations):
            say(f"evaluation {number + 1} of {effort.evaluations}")
            evaluations.append(_evaluation(image, scratch / f"evaluation-{number}"))
        minimisations = []
        for number in range(effort.minimisations):
            say(f"minimising {number + 1} of {effort.minimisations}")
            minimisations.append(_minimisation(image, whole=effort.whole_boots and number == 0))
        say("the report of 20 images")
        reports = _report(image, scratch, effort.loads) if effort.loads else ()
        kills = []
        for number in range(effort.kills):
            say(f"a worker that is killed, {number + 1} of {effort.kills}")
            (scratch / f"cluster-{number}").mkdir()
            kills.append(_kill(image, scratch / f"cluster-{number}"))
    return EvaluateSamples(tuple(evaluations), tuple(minimisations), reports, tuple(kills))


def _evaluation(image: Path, folder: Path) -> EvaluateRound:
    together = _pvefi(
        *("evaluate", str(image), "--machines", "embedded", "--entries", ",".join(_ENTRIES)),
        *("--repeat", "1", "--jobs", "2", "--seed", "0", "-o", str(folder)),
    )[0]
    single = ("boot", "--machine", "embedded", "--until", "handoff", "--count", "--seed", "0", "--json")
    boots = tuple(_pvefi(*single, "--entry", entry, str(image))[0] for entry in _ENTRIES)
    return EvaluateRound(together, boots)


def _minimisation(image: Path, *, whole: bool) -> MinimiseRound:
    words = ("minimise", str(image), "--json")
    seconds, told = _pvefi(*words)
    boots = int(json.loads(told)["boots"])
    if not whole:
        return MinimiseRound(seconds, None, None, boots)
    alone = (*words, "--no-confirm")
    return MinimiseRound(seconds, _pvefi(*alone)[0], _pvefi(*alone, "--whole-boots")[0], boots)


def _report(image: Path, scratch: Path, loads: int) -> tuple[ReportSample, ...]:
    """Return the sample of a report; none where there is no Chromium."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return ()
    made, page = scratch / "one", scratch / "many" / "report.html"
    _pvefi(
        *("evaluate", str(image), "--machines", "embedded,qemu", "--entries", ",".join(_ENTRIES)),
        *("--repeat", "1", "-o", str(made)),
    )
    _run([sys.executable, str(_HERE / "evaluate_report.py"), str(image), str(made), str(page.parent)])
    return (ReportSample(page.stat().st_size, tuple(_load(chromium, page) for _ in range(loads))),)


def _load(chromium: str, page: Path) -> float:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        opened = browser.new_page()
        opened.goto(page.as_uri(), wait_until="load")
        opened.wait_for_function("performance.getEntriesByType('navigation')[0].loadEventEnd > 0")
        milliseconds = opened.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
        browser.close()
    return float(milliseconds) / 1000


def _kill(image: Path, folder: Path) -> KilledWorker:
    """Have a cluster boot an image several times, and kill a worker that runs one, in the middle."""
    data = image.read_bytes()
    file = FileRef(image.name, hashlib.sha256(data).hexdigest(), len(data))
    tasks = [
        Task(file, "efi", "embedded", TaskKind.HANDOFF, repetition=number + 1) for number in range(_TASKS)
    ]
    running: dict[str, str] = {}  # the identifier of a task that runs -> its worker
    there = lost = 0
    with cluster_in(folder) as cluster:
        cluster.start_workers(_WORKERS)
        results = 0
        for happening in ClusterEngine(cluster.address).run(tasks, {file.sha256: image}):
            match happening:
                case Started(task, worker):
                    running[task.id] = worker
                    if not there and results >= _KILLED_AT:
                        cluster.kill(cluster.process_of(worker))
                        there = list(running.values()).count(worker)
                case Finished(result):
                    results += 1
                    running.pop(result.task.id, None)
                case Lost():
                    lost += 1
        boots = sum(line.endswith(" boot") for line in cluster.witnessed())
    if results != _TASKS or lost != there:
        raise BenchError(f"expected {_TASKS} results and {there} boots lost, found {results} and {lost}")
    return KilledWorker(_TASKS, there, boots)


def _pvefi(*words: str) -> tuple[float, str]:
    """Return the seconds that a command took, and what it printed."""
    began = time.perf_counter()
    output = _run([sys.executable, "-m", "pvefi", *words])
    return time.perf_counter() - began, output


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode not in _ANSWERED:
        last = (done.stderr.strip().splitlines() or ["nothing on stderr"])[-1]
        raise BenchError(f"{' '.join(command[1:4])} ended with {done.returncode}: {last}")
    return done.stdout
