# SPDX-License-Identifier: GPL-2.0-or-later
"""The Makefile passes on what the caller gives, whatever characters are in it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SAY = '#!/bin/sh\nfor word; do echo "<$word>"; done\n'


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Give a tree with the Makefile, where every program only says its arguments."""
    if shutil.which("make") is None:
        pytest.skip("make is missing (apt-get install make)")
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name, text in (
        ("tools/environment.sh", "exit 0\n"),
        (".venv/bin/pvefi", SAY),
        (".venv/bin/python", SAY),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    return tmp_path


def make(tree: Path, *words: str, **environment: str) -> list[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["make", *words], cwd=tree, check=True, capture_output=True, text=True, env=inherited | environment
    )
    return done.stdout.splitlines()


NASTY = """/tmp/it's "the" kernel; `no`"""


def test_a_kernel_s_path_may_hold_any_character(tree: Path) -> None:
    words = ["<boot>", f"<{NASTY}>", "<--until>", "<handoff>"]
    assert make(tree, "boot", f"KERNEL={NASTY}") == words
    assert make(tree, "boot", KERNEL=NASTY) == words
    assert make(tree, "bench", f"KERNEL={NASTY}") == ["<bench/run.py>", "<--kernel>", f"<{NASTY}>"]


def test_arguments_are_words_of_the_shell(tree: Path) -> None:
    arguments = """--count --cmdline 'a "b"'"""
    assert make(tree, "boot", "KERNEL=k", f"ARGS={arguments}") == [
        "<boot>",
        "<k>",
        "<--until>",
        "<handoff>",
        "<--count>",
        "<--cmdline>",
        '<a "b">',
    ]


def test_without_a_kernel_the_corpus_s_is_taken(tree: Path) -> None:
    assert make(tree, "bench") == ["<bench/run.py>"]
    assert make(tree, "boot")[0] == "<boot>"


def test_the_tests_on_xen_can_be_run_by_themselves(tree: Path) -> None:
    (tree / "tools/packages.sh").write_text("exit 0\n")
    told = make(tree, "test-xen", "ARGS=-k dom0")
    assert told[0].startswith("running the tests on Xen")
    assert told[1:] == ["<-m>", "<pytest>", "<-q>", "<tests/xen>", "<-m>", "<not full>", "<-k>", "<dom0>"]
    assert make(tree, "xen-demo") == ["<tools/xen_demo.py>"]
