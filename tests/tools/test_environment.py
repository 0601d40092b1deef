# SPDX-License-Identifier: GPL-2.0-or-later
"""tools/environment.sh on machines that lack something: one line with the way out, and nothing done twice."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Stands in for a python3; its venv holds a copy of itself, whose pip fails while the file `offline` exists.
FAKE_PYTHON = """\
#!/bin/sh
echo "$*" >>"{log}"
case "$*" in
*"%d.%d"*) echo {version} ;;
*sys.exit*) exit {too_old} ;;
*"import ensurepip"*) exit {no_venv} ;;
*"import sys, pip"*) exit 0 ;;
*--version*) echo Python {version} ;;
*venv*) mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
*"pip install"*) [ ! -e offline ] || {{ echo "ERROR: Could not find a version"; exit 1; }} ;;
esac
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Give a source tree of two files, with a PATH in front of which programs can be put."""
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "environment.sh", tmp_path / "tools")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "bin").mkdir()
    put(tmp_path / "bin" / "sleep", "#!/bin/sh\n")
    return tmp_path


def put(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def fake_python(tree: Path, *, version: str = "3.11", too_old: int = 0, no_venv: int = 0) -> str:
    path = tree / "bin" / "fakepython"
    text = FAKE_PYTHON.format(log=tree / "calls", version=version, too_old=too_old, no_venv=no_venv)
    put(path, text)
    return str(path)


def environment(tree: Path, python: str, *words: str) -> subprocess.CompletedProcess[str]:
    variables = os.environ | {"PYTHON": python, "PATH": f"{tree}/bin:{os.environ['PATH']}"}
    variables.pop("PVEFI_ENVIRONMENT_LOCKED", None)
    return subprocess.run(
        ["sh", "tools/environment.sh", *words],
        cwd=tree,
        check=False,
        capture_output=True,
        text=True,
        env=variables,
        stdin=subprocess.DEVNULL,
    )


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1
    assert not done.stdout
    return done.stderr.splitlines()[-1]


def test_a_missing_python_is_one_line_with_the_package_to_install(tree: Path) -> None:
    line = refusal(environment(tree, "no-such-python"))
    way_out = "apt-get install python3 python3-venv, or make PYTHON=/path/python3"
    assert line == f"environment: python3 is missing ({way_out})"


def test_an_old_python_is_named_with_its_version(tree: Path) -> None:
    line = refusal(environment(tree, fake_python(tree, version="3.9", too_old=1)))
    assert line.startswith("environment: Python 3.11 or later is needed,")
    assert "is 3.9" in line
    assert "make PYTHON=/path/python3" in line


def test_a_missing_venv_module_is_one_line_with_the_package_to_install(tree: Path) -> None:
    done = environment(tree, fake_python(tree, no_venv=1))
    assert "has no venv module (apt-get install python3-venv, or make PYTHON=" in refusal(done)
    assert done.stderr.count("\n") == 1
    assert not (tree / ".venv").exists()


def test_an_index_out_of_reach_is_tried_again_and_then_one_line(tree: Path) -> None:
    (tree / "offline").touch()
    done = environment(tree, fake_python(tree))
    line = refusal(done)
    assert line.startswith("environment: pip could not install them: ERROR: Could not find a version (")
    assert "PIP_INDEX_URL" in line
    assert (tree / "calls").read_text().count("pip install") == 3


def test_what_is_made_is_not_made_again(tree: Path) -> None:
    python = fake_python(tree)
    first, second = environment(tree, python), environment(tree, python)
    assert (first.returncode, second.returncode, second.stderr) == (0, 0, "")
    assert (tree / "calls").read_text().count("pip install") == 1


def test_the_test_tools_come_on_top_and_serve_both(tree: Path) -> None:
    python = fake_python(tree)
    for words in ([], ["dev"], [], ["dev"]):
        assert environment(tree, python, *words).returncode == 0
    calls = (tree / "calls").read_text()
    assert calls.count("pip install") == 2
    assert calls.count("--editable .[evaluate]") == 1
    assert calls.count("--editable .[dev]") == 1
    assert calls.count("-m venv") == 1


def test_another_pyproject_and_another_place_make_it_again(tree: Path, tmp_path: Path) -> None:
    python = fake_python(tree)
    environment(tree, python)
    with (tree / "pyproject.toml").open("a") as stream:
        stream.write("# another\n")
    environment(tree, python)
    assert (tree / "calls").read_text().count("pip install") == 2


def test_an_interrupted_one_is_finished(tree: Path) -> None:
    python = fake_python(tree)
    environment(tree, python)
    (tree / ".venv" / "made").unlink()
    put(tree / ".venv" / "bin" / "python", "#!/bin/sh\nexit 1\n")
    assert environment(tree, python).returncode == 0
    assert (tree / "calls").read_text().count("-m venv --clear") == 2
