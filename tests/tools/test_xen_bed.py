# SPDX-License-Identifier: GPL-2.0-or-later
"""tools/xen_bed.py: which saved state of a dom0 is whose, and what of the cache goes again."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

import xen_bed
from tests.conftest import Tool
from xen_bed import main
from xen_image import Dom0Image
from xen_machine import command

IMAGE = Dom0Image(Path("/cache/dom0-1"))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PVEFI_CACHE", str(tmp_path))
    return tmp_path / "xen"


def test_a_state_belongs_to_one_image_machine_and_processor(
    tool: Tool, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    tool("qemu-system-x86_64")
    names = [
        xen_bed._base_file(IMAGE, 4096),
        xen_bed._base_file(IMAGE, 2048),
        xen_bed._base_file(Dom0Image(Path("/cache/dom0-2")), 4096),
    ]
    monkeypatch.setattr(xen_bed, "_processor", lambda: "another")
    names.append(xen_bed._base_file(IMAGE, 4096))
    assert len(set(names)) == 4
    assert {path.parent for path in names} == {cache}
    assert xen_bed._base_file(IMAGE, 4096) == names[-1]


def test_xen_its_kernel_and_its_initrd_are_named_without_their_folders() -> None:
    words = command(IMAGE, 4096, Path("/share"))
    assert words[words.index("-kernel") + 1] == "xen"
    # QEMU splits it at commas, and each at its first space.
    parts = words[words.index("-initrd") + 1].split(",")
    assert [part.split()[0] for part in parts] == ["vmlinux", "initrd"]


def test_what_was_not_used_for_long_goes(cache: Path) -> None:
    cache.mkdir()
    now = time.time()
    ages = {"dom0-old": 8 * 86400, "dom0-new": 3600, "state-old": 8 * 86400, "loaded-old": 7200}
    ages |= {
        "loaded-new": 60,
        "loaded-newest": 1,
        "loaded-third": 1800,
        "loaded-second": 1500,
        "lock": 9 * 86400,
        "wheels": 9 * 86400,
        ".part-old": 2 * 86400,
    }
    for name, age in ages.items():
        path = cache / name
        if name.startswith("dom0"):
            path.mkdir()
            (path / "xen").touch()
        else:
            path.touch()
        os.utime(path, (now - age, now - age))
    xen_bed._remove_unused(cache)
    assert {path.name for path in cache.iterdir()} == {
        "dom0-new",
        "loaded-new",
        "loaded-newest",
        "lock",
        "wheels",
    }


def test_what_is_lacking_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("corpus.Corpus._fetch", _refuse)
    assert main(["run", "true"]) == 1
    assert capsys.readouterr().err == "xen: no network\n"


def _refuse(*_: object) -> None:
    from corpus import CorpusError

    raise CorpusError("no network")
