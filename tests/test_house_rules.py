# SPDX-License-Identifier: GPL-2.0-or-later
"""The rules of this code base that a program can check; CONTRIBUTING.md says why they are there."""

from __future__ import annotations

import ast
import functools
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "pvefi"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Imports point only to layers above, or to their own. Each line is one layer.
LAYERS = (
    ("errors", "layout", "frozen_json", "files", "state_directory", "serial", "__init__"),
    ("spec",),
    ("trace", "verdict"),  # what happened, as values: efi makes events, machines know nothing of them
    ("image",),
    ("probe",),  # what a guest's user space says of its boot
    ("guest",),
    ("memory", "placement"),
    ("efi",),
    ("entries",),
    ("machines",),
    ("handoff", "judge", "mapping", "console_watch"),
    ("report", "owner_changes", "enrollment", "profile_file"),
    ("console_watch",),
    ("prepare", "progress", "clocks", "supervisor"),
    ("boot", "held_guest", "legacy", "serve"),
    ("evaluate",),  # many boots, and what they say together
    ("cli", "__main__"),
)
# What the order of the layers alone would allow.
FORBIDDEN = (("machines", "efi"), ("machines", "entries"), ("machines", "trace"))

LINES_AT_MOST = 400
LICENCE = "SPDX-License-Identifier: GPL-2.0-or-later"
CITED = r"(?:UEFI|EFI|ACPI|PI|PE/COFF|ELF|SMBIOS|Intel SDM|AMD APM|TCG|RFC)[\w .-]*"
NUMBERS = r"§[0-9A-Z][0-9A-Z]*(?:\.[0-9]+)*"
CITATION = re.compile(rf"{CITED} {NUMBERS}(?:(?:, | and | to ){NUMBERS})*")


def passes(*words: str) -> None:
    """Fail with all that a linter complains about."""
    done = subprocess.run(
        [sys.executable, "-m", *words],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        pytest.fail(f"{' '.join(words)}\n{done.stdout}{done.stderr}", pytrace=False)


@functools.cache
def files_of_the_project() -> tuple[Path, ...]:
    """Return what git tracks or would; of a tree without git, everything but what tools leave behind."""
    listing = None
    if git := shutil.which("git"):
        listing = subprocess.run(
            [git, "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            check=False,
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
    if listing is not None and listing.returncode == 0:
        names = [name for name in listing.stdout.split("\0") if name]
    else:
        made = (".venv", ".git", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", "__pycache__")
        files = [path.relative_to(ROOT) for path in ROOT.rglob("*")]
        names = [str(path) for path in files if not any(part in made for part in path.parts)]
    return tuple(path for name in names if (path := ROOT / name).is_file())


def text_files() -> Iterator[tuple[Path, str]]:
    for path in files_of_the_project():
        data = path.read_bytes()
        if b"\0" not in data:
            yield path.relative_to(ROOT), data.decode()


def test_ruff_finds_nothing() -> None:
    passes("ruff", "check", "--quiet", ".")


def test_ruff_would_format_nothing_differently() -> None:
    passes("ruff", "format", "--check", "--quiet", ".")


def test_mypy_strict_finds_nothing() -> None:
    folders = [name for name in ("src", "tests", "tools", "bench") if any((ROOT / name).rglob("*.py"))]
    passes("mypy", "--strict", "--no-error-summary", *folders)


def layer_of(part: str) -> int:
    for number, names in enumerate(LAYERS):
        if part in names:
            return number
    raise AssertionError(f"pvefi.{part} stands in no layer: give it its place in {Path(__file__).name}")


def imports_of(path: Path) -> Iterator[str]:
    """Yield the part of pvefi that each import names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            first, _, rest = name.partition(".")
            if first == "pvefi":
                part = rest.split(".")[0]
                yield part if part and not part.startswith("__version") else "__init__"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_to_layers_above(path: Path) -> None:
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for imported in imports_of(path):
        assert layer_of(imported) <= layer_of(part), f"{part} is above {imported} and must not know of it"
        assert (part, imported) not in FORBIDDEN, f"{part} must not know of {imported}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_is_short_enough_to_read_in_one_go(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LINES_AT_MOST


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_says_its_purpose(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


MUTATORS = frozenset(
    (
        "add",
        "append",
        "clear",
        "discard",
        "extend",
        "insert",
        "pop",
        "popitem",
        "remove",
        "setdefault",
        "update",
    )
)


def containers_of(tree: ast.Module) -> dict[str, ast.expr]:
    """Return the module's names that hold a list, a dict or a set."""
    found: dict[str, ast.expr] = {}
    kinds = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
    makers = {"list", "dict", "set", "bytearray", "defaultdict", "deque", "Counter", "OrderedDict"}
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = getattr(node, "value", None)
        made = isinstance(value, ast.Call) and getattr(value.func, "id", "") in makers
        for target in targets:
            if (
                isinstance(target, ast.Name)
                and isinstance(value, ast.expr)
                and (made or isinstance(value, kinds))
            ):
                found[target.id] = value
    return found


def starts_empty(value: ast.expr) -> bool:
    match value:
        case ast.Call(args=[], keywords=[]) | ast.List(elts=[]) | ast.Dict(keys=[]):
            return True
    return False


def changed_names(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield the names whose contents some statement changes."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Subscript | ast.Attribute) or not isinstance(node.value, ast.Name):
            continue
        if isinstance(node.ctx, ast.Store | ast.Del) or getattr(node, "attr", "") in MUTATORS:
            yield node.value.id, node.lineno


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_holds_no_state(path: Path) -> None:
    """Two boots in one process must not meet: tables are constant, and nothing starts empty to be filled."""
    tree = ast.parse(path.read_text())
    containers = containers_of(tree)
    for name, value in containers.items():
        assert not starts_empty(value), f"{path.name}:{value.lineno}: {name} starts empty"
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Global), f"{path.name}:{getattr(node, 'lineno', 0)}: global"
    local = {
        target.id
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for target in ast.walk(function)
        if isinstance(target, ast.Name) and isinstance(target.ctx, ast.Store)
    }
    for name, line in changed_names(tree):
        assert name not in containers or name in local, (
            f"{path.name}:{line}: changes {name}, a module's table"
        )


def test_every_source_file_names_its_licence() -> None:
    suffixes = (".py", ".sh", ".S", ".lds", ".ld", ".toml")
    lacking = [
        str(path)
        for path, text in text_files()
        if (path.suffix in suffixes or path.name in ("Makefile", "run"))
        and LICENCE not in "\n".join(text.splitlines()[:2])
    ]
    assert not lacking


def test_citations_follow_the_grammar() -> None:
    """`UEFI 2.10 §7.2.3`, `ACPI 6.5 §5.2.5`, `Intel SDM vol. 3A §4.5`: document, version, then the number.

    A table in spec/ may name its document once, above, and end each line with a bare number.
    """
    wrong = []
    for path, content in text_files():
        text = content
        if path.suffix not in (".py", ".S", ".sh") or path.name == Path(__file__).name:
            continue
        if "spec" in path.parts and re.search(rf"^ *#.*{CITED}", text, re.MULTILINE):
            text = re.sub(rf"# {NUMBERS}$", "", text, flags=re.MULTILINE)
        joined = re.sub(r"\s*\n\s*(?:#:?|//|\*)?\s*", " ", text)
        left = CITATION.sub("", joined)
        wrong += [f"{path}: …{match[0]}…" for match in re.finditer(r".{0,40}§.{0,20}", left)]
        wrong += [
            f"{path}: {match[0]}"
            for match in re.finditer(r"UEFI (?:spec\w*,? )?[Ss]ection \d.{0,10}", joined)
        ]
    assert not wrong, "\n".join(wrong)


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    home = re.compile(r"(?<![\w.}/])/(?:home|root|work|Users)/\w[\w./-]*")
    found = [
        f"{path}: {match[0]}"
        for path, text in text_files()
        if path.name not in (Path(__file__).name, "LICENSE")
        for match in home.finditer(text)
    ]
    assert not found, "\n".join(found)
