#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures the figures that pvefi promises, and says for each whether it is met: `make bench`.

Every repeat is a process of its own, and the kinds of measurement take turns, so that a busy moment of the
host does not fall on one figure alone. Figures are medians; the spread is lowest to highest.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

from rich.console import Console
from rich.table import Table as TextTable

from bench.busy_program import build_busy_program
from bench.evaluate_figures import evaluate_figures_of, evaluate_tables_of
from bench.evaluate_run import EvaluateEffort, measure_evaluate
from bench.figures import BootSample, Figure, JsonObject, Samples, Table, figures_of, to_json
from bench.qemu_figures import qemu_figures_of, qemu_tables_of
from bench.qemu_run import BenchError, Subject, measure_qemu
from bench.store_figures import store_figures_of, store_tables_of
from bench.store_run import measure_store
from bench.xen_efi_figures import xen_efi_figures_of, xen_efi_tables_of
from bench.xen_efi_run import fill, measure_xen_efi
from bench.xen_figures import xen_figures_of, xen_tables_of
from bench.xen_run import Effort, measure_xen
from corpus import Corpus, CorpusError
from probe import probe_initrd
from pvefi.errors import MachineError
from pvefi.machines.qemu.installation import find_qemu

__all__ = ["main", "measure", "measure_parts"]

ROOT = Path(__file__).resolve().parent.parent
_REPEATS, _QUICK_REPEATS = 7, 2
_COUNTED = 2
_QEMU_REPEATS, _QEMU_WIDE = 5, 2
_WIDE = 3
_STORE_REPEATS = 5
_XEN_EFI_REPEATS = 4
_XEN, _QUICK_XEN = Effort(5, 1000, 20.0), Effort(1, 200, 8.0)
_KILLS, _QUICK_KILLS = (10_000, 2_000), (200, 100)
"""Writers killed in a roomy store, and in one that is cleared away at most changes."""
_DIRECTORY_SIZE = 40
_OTHER_KERNELS = (("amd64", "boot/vmlinuz-*"), ("cloud-6.12", "boot/vmlinuz-*"), ("netboot", "*/linux"))
_TABLE_WIDTH = 150  # columns, where no terminal says
_IMPORT = "import time; t = time.perf_counter(); import pvefi.cli; print(time.perf_counter() - t)"
_HANDOFF = "hand-off"
_EMBEDDED = ("--machine", "embedded")
_PARTS = ("embedded", "qemu", "store", "xen", "xen-efi", "evaluate")
_EVALUATE = EvaluateEffort(evaluations=3, minimisations=1, whole_boots=True, loads=5, kills=3)
_QUICK_EVALUATE = EvaluateEffort(evaluations=1, minimisations=0, whole_boots=False, loads=2, kills=1)


def measure(image: Path, repeats: int, counted: int, say: Callable[[str], None], *, wide: int = 0) -> Samples:
    """Return the samples of `repeats` rounds and `counted` boots that count instructions.

    `wide` is how often what takes many boots or files is measured.
    """
    boots: list[BootSample] = []
    busy: list[BootSample] = []
    inspections: list[float] = []
    imports: list[float] = []
    for number in range(1, repeats + 1):
        say(f"round {number} of {repeats}")
        boots.append(_boot(image))
        busy.append(_boot_busy_program())
        imports.append(float(_run([sys.executable, "-c", _IMPORT])))
        began = time.perf_counter()
        _run([sys.executable, "-m", "pvefi", "inspect", "--json", str(image)])
        inspections.append(time.perf_counter() - began)
    ratios: list[float] = []
    directory_seconds: list[float] = []
    directory_memory: list[int] = []
    for number in range(1, wide + 1):
        say(f"all entries, and a directory, {number} of {wide}")
        ratios.append(_all_entries_ratio(image))
        seconds, memory = _inspect_directory(image)
        directory_seconds.append(seconds)
        directory_memory.append(memory)
    counts = []
    for number in range(1, counted + 1):
        say(f"counted boot {number} of {counted}")
        counts.append(_boot(image, "--count"))
    return Samples(
        boots=tuple(boots),
        busy=tuple(busy),
        counted=tuple(counts),
        inspect_seconds=tuple(inspections),
        import_seconds=tuple(imports),
        all_entries_ratios=tuple(ratios),
        directory_seconds=tuple(directory_seconds),
        directory_memory=tuple(directory_memory),
    )


def _all_entries_ratio(image: Path) -> float:
    """Return how long `--entry all` takes, as a multiple of the single boots of the entries it took."""
    began = time.perf_counter()
    boots = json.loads(_pvefi("boot", *_EMBEDDED, "--entry", "all", "--json", str(image)))["boots"]
    together = time.perf_counter() - began
    began = time.perf_counter()
    for boot in boots:
        _pvefi("boot", *_EMBEDDED, "--entry", boot["entry"], "--json", str(image))
    return together / (time.perf_counter() - began)


def _inspect_directory(image: Path) -> tuple[float, int]:
    """Return seconds and bytes that inspecting a directory of kernels takes: copies of all that are there."""
    kernels = [image]
    corpus = Corpus(offline=True)
    for name, pattern in _OTHER_KERNELS:
        try:
            kernels.append(corpus.file(name, pattern))
        except CorpusError:
            continue
    with tempfile.TemporaryDirectory() as folder:
        for number in range(_DIRECTORY_SIZE):
            shutil.copyfile(kernels[number % len(kernels)], Path(folder) / f"vmlinuz-{number:02}")
        command = [sys.executable, "-m", "pvefi", "inspect", "--json", folder]
        began = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            highest = 0
            while process.poll() is None:
                highest = max(highest, tree_memory(process.pid))
                time.sleep(0.05)
            seconds = time.perf_counter() - began
        if process.returncode:
            raise BenchError(f"pvefi inspect of {_DIRECTORY_SIZE} kernels ended with {process.returncode}")
    return seconds, highest


def tree_memory(pid: int) -> int:
    """Return the proportional set size in bytes of process `pid` and all its descendants."""
    total = 0
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) << 10
        for task in Path(f"/proc/{pid}/task").iterdir():
            children = (task / "children").read_text(encoding="ascii").split()
            total += sum(tree_memory(int(child)) for child in children)
    except (OSError, ProcessLookupError):
        return total  # it has just ended
    return total


def _boot(image: Path, *options: str) -> BootSample:
    document = json.loads(_run([sys.executable, str(ROOT / "bench" / "boot_once.py"), str(image), *options]))
    calls = tuple((str(service), float(time)) for service, time in document.pop("calls"))
    return BootSample(calls=calls, **document)


def _boot_busy_program() -> BootSample:
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "busy.efi"
        program.write_bytes(build_busy_program())
        return _boot(program)


def _pvefi(*arguments: str) -> str:
    return _run([sys.executable, "-m", "pvefi", *arguments])


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing on stderr"])[-1]
        raise BenchError(f"{' '.join(command[1:3])} ended with {done.returncode}: {last}")
    return done.stdout


def machine_facts() -> JsonObject:
    """Return what the figures depend on besides pvefi."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "unicorn": version("unicorn"),
        "qemu": _qemu_version(),
    }


def _qemu_version() -> str:
    try:
        return find_qemu().version_text
    except MachineError:
        return "none"


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def image_facts(image: Path) -> JsonObject:
    """Return which image the figures are of."""
    data = image.read_bytes()
    return {"file": image.name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def print_tables(
    machine: JsonObject,
    image: JsonObject,
    figures: Sequence[Figure],
    console: Console,
    tables: Sequence[Table] = (),
) -> None:
    """Print the figures and the facts for people."""
    table = TextTable(title="medians; spread is lowest to highest", title_justify="left")
    for title in ("figure", "reach", "measured", "spread", ""):
        table.add_column(title, justify="right" if title in ("reach", "measured") else "left", no_wrap=True)
    table.add_column("how")
    for figure in figures:
        if not figure.values:
            table.add_row(figure.what, "", "not measured", "", "", figure.how)
            continue
        verdict = {None: "", True: "[green]met[/]", False: "[bold red]missed[/]"}[figure.met]
        table.add_row(
            figure.what,
            figure.reach,
            figure.text(figure.median),
            figure.spread,
            verdict,
            figure.how,
            end_section=True,
        )
    console.print(table)
    for one in tables:
        shown = TextTable(*one.head, title=one.title, title_justify="left")
        for row in one.rows:
            shown.add_row(*row)
        console.print(shown)
    for facts in (image, machine):
        told = ", ".join(f"{name} {value}" for name, value in facts.items())
        console.print(told, highlight=False, soft_wrap=True)


def measure_parts(
    given: argparse.Namespace, image: Path, say: Callable[[str], None]
) -> tuple[list[Figure], list[Table]]:
    """Return the figures and tables of the parts that are asked for."""
    figures: list[Figure] = []
    tables: list[Table] = []
    parts = (given.only,) if given.only else _PARTS
    if "embedded" in parts:
        figures += _embedded_figures(image, say, quick=given.quick)
    if "qemu" in parts:
        measured = measure_qemu(
            Subject(image, probe_initrd("any" if given.kernel else "cloud")),
            _QUICK_REPEATS if given.quick else _QEMU_REPEATS,
            0 if given.quick else _QEMU_WIDE,
            say,
        )
        figures += qemu_figures_of(measured)
        tables += qemu_tables_of(measured)
    if "store" in parts:
        # efivarfs is a module, which only the corpus's kernel has here.
        kernel_with_modules = Corpus().file("cloud", "boot/vmlinuz-*")
        stored = measure_store(
            Subject(kernel_with_modules, probe_initrd("cloud")),
            _QUICK_REPEATS if given.quick else _STORE_REPEATS,
            _QUICK_KILLS if given.quick else _KILLS,
            say,
        )
        figures += store_figures_of(stored)
        tables += store_tables_of(stored)
    if "xen" in parts:
        # As above: its guests read variables.
        domains = measure_xen(
            Subject(Corpus().file("cloud", "boot/vmlinuz-*"), probe_initrd("cloud")),
            _QUICK_XEN if given.quick else _XEN,
            say,
        )
        figures += xen_figures_of(domains)
        tables += xen_tables_of(domains)
    if "xen-efi" in parts:
        starts = _starts_of_xen(_QUICK_REPEATS if given.quick else _XEN_EFI_REPEATS, say)
        figures += xen_efi_figures_of(starts)
        tables += xen_efi_tables_of(starts)
    if "evaluate" in parts:
        effort = _QUICK_EVALUATE if given.quick else _EVALUATE
        evaluated = measure_evaluate(image, effort, say)
        figures += evaluate_figures_of(evaluated)
        tables += evaluate_tables_of(evaluated)
    return figures, tables


def main(words: Sequence[str]) -> int:
    """Measure and print; 0 whether or not figures are met, 1 when they could not be measured."""
    parser = argparse.ArgumentParser(prog="bench/run.py", description="Measure the figures of pvefi.")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"{_QUICK_REPEATS} rounds, not {_REPEATS}, and nothing that takes minutes",
    )
    parser.add_argument(
        "--only",
        choices=_PARTS,
        help="measure this part: boots on the embedded machine, boots in QEMU, variables, domains on "
        "a Xen in QEMU, Xen's own start, or evaluations",
    )
    parser.add_argument("--kernel", type=Path, metavar="FILE", help="measure this kernel, not Debian's")
    given = parser.parse_args(words)
    progress = Console(stderr=True)
    try:
        image = given.kernel or Corpus().file("cloud", "boot/vmlinuz-*")
        machine, kernel = machine_facts(), image_facts(image)
        with progress.status("measuring") as status:
            figures, tables = measure_parts(given, image, status.update)
    except (BenchError, CorpusError, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 130
    if given.json:
        print(json.dumps(to_json(machine, kernel, figures, tables), indent=2))
    else:
        console = Console()
        if not console.is_terminal:
            console = Console(width=_TABLE_WIDTH)
        print_tables(machine, kernel, figures, console, tables)
    return 0


def _starts_of_xen(rounds: int, say: Callable[[str], None]) -> list[dict[str, float]]:
    """Return the seconds to dom0's first process, by way, of each round."""
    corpus = Corpus()
    with tempfile.TemporaryDirectory(prefix="pvefi-bench-") as scratch:
        fill(
            Path(scratch),
            corpus.file("xen", "boot/xen-*.efi"),
            corpus.file("xen", "boot/xen-*.gz"),
            corpus.file("amd64", "boot/vmlinuz-*"),
            probe_initrd("amd64", corpus),
        )
        return measure_xen_efi(Path(scratch), rounds, say)


def _embedded_figures(image: Path, say: Callable[[str], None], *, quick: bool) -> list[Figure]:
    """Return the figures of pvefi by itself, on the embedded machine."""
    samples = measure(
        image,
        _QUICK_REPEATS if quick else _REPEATS,
        1 if quick else _COUNTED,
        say,
        wide=0 if quick else _WIDE,
    )
    ends = {boot.outcome for boot in (*samples.boots, *samples.counted)} - {_HANDOFF}
    if ends:
        raise BenchError(f"expected every boot to reach its hand-off, found: {', '.join(sorted(ends))}")
    return figures_of(samples)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
