# SPDX-License-Identifier: GPL-2.0-or-later
"""What tests ask for by name: real files of the corpus, and programs of the system.

A developer's machine may lack either, and the test is skipped with the reason. Under CI=true both are meant
to be there: lacking one is a failure, and whatever is still skipped is listed at the end.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, settings

from corpus import Corpus, CorpusError
from probe import kernel_file, probe_initrd

CI = os.environ.get("CI", "").lower() in ("1", "true")

settings.register_profile("default", deadline=None)
settings.register_profile(
    "ci",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ci" if CI else "default")

# What nohup or a shell's & ignores, programs that tests start would ignore too, and not end when they are to.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)

Tool = Callable[[str], str]


def lacks(what: str) -> NoReturn:
    """End a test that lacks something: a failure under CI, a skip with the reason elsewhere."""
    if CI:
        pytest.fail(f"CI is meant to have this: {what}", pytrace=False)
    pytest.skip(what)


class RealFiles:
    """Real files by item or package name; the first failure to fetch ends all tries of the session."""

    def __init__(self) -> None:
        self._corpus = Corpus()
        self._refused = ""

    def file(self, name: str, pattern: str = "*") -> Path:
        """Return the one file of an item that `pattern` names, such as "boot/vmlinuz-*"."""
        self.files(name)
        return self._corpus.file(name, pattern)

    def package(self, name: str) -> str:
        """Return the package that an item was fetched from, and its version."""
        self.files(name)
        record = self._corpus.record(name)
        return f"{record['package']} {record['version']}"

    def files(self, name: str) -> list[Path]:
        """Return every file kept of an item."""
        with self._reachable():
            return self._corpus.files(name)

    def kernel(self, name: str) -> Path:
        """Return the kernel of this name."""
        with self._reachable():
            return kernel_file(name, self._corpus)

    def probe(self, kernel: str, programs: Iterable[str] = ()) -> Path:
        """Return the probe's initrd for a kernel, with the programs of these items in it."""
        with self._reachable():
            return probe_initrd(kernel, self._corpus, programs)

    @contextlib.contextmanager
    def _reachable(self) -> Iterator[None]:
        try:
            yield
        except CorpusError as error:
            if not self._refused:
                self._refused = str(error)
                # One unreachable archive costs one wait, not one for each test.
                self._corpus = Corpus(offline=True)
                lacks(str(error))
            lacks(f"{error}; before that: {self._refused}")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--renew-golden", action="store_true", help="record golden traces anew instead of comparing them"
    )


@pytest.fixture(scope="session")
def corpus() -> RealFiles:
    """Give `corpus.file("cloud")`, `corpus.file("efitools", "HelloWorld.efi")`, `corpus.files("xen")`."""
    return RealFiles()


@pytest.fixture(scope="session")
def tool() -> Tool:
    """Give `tool("readelf")`, the path of a program of the system."""

    def find(name: str) -> str:
        found = shutil.which(name)
        return found or lacks(f"{name} is missing (tools/packages.sh installs what tests call)")

    return find


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not CI:
        return
    skipped = terminalreporter.stats.get("skipped", [])
    terminalreporter.section(f"skipped under CI: {len(skipped)}")
    for report in skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        terminalreporter.line(f"{report.nodeid}: {reason.removeprefix('Skipped: ')}")
