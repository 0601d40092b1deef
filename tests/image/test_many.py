# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from pvefi.errors import ImageError, MachineError, UsageError
from pvefi.image import Image, inspect, many
from pvefi.image.many import inspect_many
from tests.build.bzimage import build_bzimage
from tests.build.elf import build_elf, note
from tests.build.pe import build_pe


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    files = {
        "kernel": build_bzimage(),
        "text": b"Hello\n",
        "program": build_pe(machine=0x1234),  # an enumeration's value without a name
        "cut": build_pe(length=0x300),
        "elf": build_elf(notes=note("Xen", 0x77, b"abc") + note("Linux", 0x100, b"x\0")),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    return [tmp_path / name for name in [*files, "missing"]]


def test_many_processes_say_what_one_does(paths: list[Path]) -> None:
    alone = [
        (path, found if isinstance(found, Image) else str(found)) for path, found in inspect_many(paths, 1)
    ]
    together = [
        (path, found if isinstance(found, Image) else str(found)) for path, found in inspect_many(paths, 3)
    ]
    assert alone == together
    assert [path for path, _ in together] == paths
    assert together[0] == (paths[0], inspect(paths[0]))


def test_errors_keep_their_class_and_parts(paths: list[Path]) -> None:
    found = dict(inspect_many(paths, 2))
    text, missing = found[paths[1]], found[paths[-1]]
    assert isinstance(text, ImageError)
    assert (text.found, text.offset) == ("a text file", None)
    assert isinstance(missing, UsageError)


def test_no_process_is_left_when_somebody_stops_asking(paths: list[Path]) -> None:
    before = set(multiprocessing.active_children())
    results = inspect_many(paths * 20, 2)
    next(results)
    results.close()
    assert set(multiprocessing.active_children()) <= before


def slow(path: Path) -> Image:
    time.sleep(60)
    return inspect(path)


def interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def test_an_interrupt_ends_processes_that_are_busy(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many, "inspect", slow)
    before = set(multiprocessing.active_children())
    old = signal.signal(signal.SIGALRM, interrupt)
    began = time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            list(inspect_many(paths, 2))
    finally:
        signal.signal(signal.SIGALRM, old)
    assert time.monotonic() - began < 30
    assert set(multiprocessing.active_children()) <= before


def died(_path: Path) -> Image:
    os._exit(9)


def test_a_process_that_is_killed_is_one_clear_error(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many, "inspect", died)
    with pytest.raises(MachineError, match="a process that inspected images was killed"):
        list(inspect_many(paths, 2))


def test_a_few_files_are_inspected_here(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "ProcessPoolExecutor", None)
    assert len(list(inspect_many(paths[:3]))) == 3
