# SPDX-License-Identifier: GPL-2.0-or-later
"""How `pvefi` ends: one line and one documented status for each way."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvefi import cli
from pvefi.cli.options import SIZE
from pvefi.cli.signals import Terminated
from pvefi.cli.status import ExitStatus
from pvefi.errors import GuestFault, ImageError, MachineError, UsageError
from pvefi.trace.jsonl import TraceHeader, TraceWriter
from tests.build.pe import PeSection, build_pe

Captured = pytest.CaptureFixture[str]
Call = Callable[[Callable[[], object]], tuple[int, str]]


@pytest.fixture
def ending(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> Call:
    """Give the status and the error text of a `pvefi boot` that does this."""
    monkeypatch.delenv("PVEFI_DEBUG", raising=False)

    def call(body: Callable[[], object]) -> tuple[int, str]:
        command = click.Command("boot", callback=body)
        monkeypatch.setattr(cli.Verbs, "get_command", lambda *_: command)
        status = cli.main(["boot"])
        return status, capsys.readouterr().err

    return call


def raising(error: BaseException) -> Callable[[], object]:
    def body() -> object:
        raise error

    return body


def pvefi(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pvefi", *words],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UsageError("two entries were given", "choose one"), 2, "two entries were given (choose one)"),
        (ImageError("k", 60, "PE", "EOF"), 2, "k: offset 0x3c: expected PE, found EOF"),
        (MachineError("no qemu", "apt-get install it"), 3, "no qemu (apt-get install it)"),
        (GuestFault("0x10 is no memory"), 1, "0x10 is no memory"),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "x.img"),
            2,
            "x.img: no such file or directory",
        ),
        (PermissionError(errno.EACCES, "Permission denied", b"x.img"), 2, "x.img: permission denied"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "/etc"), 2, "/etc: is a directory"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "cannot write: no space left on device"),
        (MemoryError(), 3, "this host has not enough memory (a smaller --memory may do)"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (Terminated(signal.SIGTERM), 143, "ended by SIGTERM"),
        (Terminated(signal.SIGHUP), 129, "ended by SIGHUP"),
        (click.BadParameter("'x' is not a size."), 2, "invalid value: 'x' is not a size (pvefi boot --help)"),
        (click.FileError("x", "no"), 2, "could not open file 'x': no"),
        (
            ModuleNotFoundError("No module named 'unicorn'", name="unicorn"),
            3,
            "the Python module unicorn is missing (pvefi's installation is not whole: pip install pvefi)",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_every_error_is_one_line_and_its_documented_status(
    ending: Call, error: BaseException, status: int, line: str
) -> None:
    assert ending(raising(error)) == (status, f"pvefi: {line}\n")


@pytest.mark.parametrize("error", [ValueError("a bad\nvalue"), OSError(errno.EBADF, "Bad file descriptor")])
def test_anything_else_is_called_a_bug_with_its_type_and_place(ending: Call, error: Exception) -> None:
    status, text = ending(raising(error))
    assert status == ExitStatus.BUG
    assert text.startswith("pvefi: a bug of pvefi at pvefi/cli/__init__.py:")
    assert type(error).__name__ in text
    assert text.count("\n") == 1
    assert "PVEFI_DEBUG=1" in text


@pytest.mark.parametrize("error", [ValueError("x"), UsageError("x")])
def test_debugging_shows_the_traceback_too(
    ending: Call, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(os, "environ", os.environ | {"PVEFI_DEBUG": "1"})
    _, text = ending(raising(error))
    assert text.startswith("Traceback")
    assert text.splitlines()[-1].startswith("pvefi: ")


def test_what_could_steer_a_terminal_is_spelled_out(ending: Call) -> None:
    status, text = ending(raising(UsageError("a\x1b[2Jb\r\nc\u202e")))
    assert (status, text) == (2, "pvefi: a\\x1b[2Jb; c\\u202e\n")


@pytest.mark.parametrize(
    ("answer", "status"), [(None, 0), (ExitStatus.OK, 0), (ExitStatus.TIMEOUT, 124), (1, 1)]
)
def test_what_a_verb_returns_is_the_status(ending: Call, answer: int | None, status: int) -> None:
    assert ending(lambda: answer) == (status, "")


def test_a_verb_may_end_through_its_context(ending: Call) -> None:
    assert ending(lambda: click.get_current_context().exit(3)) == (3, "")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["bot"], "no such command 'bot'"),
        (["--bot"], "no such option '--bot'"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(words: list[str], line: str, capsys: Captured) -> None:
    assert cli.main(words) == 2
    text = capsys.readouterr().err
    assert text.startswith(f"pvefi: {line}")
    assert text.endswith("(pvefi --help)\n")
    assert text.count("\n") == 1


def test_no_verb_at_all_shows_the_help_as_an_error(capsys: Captured) -> None:
    assert cli.main([]) == 2
    assert "inspect" in capsys.readouterr().err


def test_help_lists_the_verbs_without_importing_them() -> None:
    code = (
        "import sys, pvefi.cli\n"
        "status = pvefi.cli.main(['--help'])\n"
        "heavy = {'unicorn', 'pefile', 'elftools', 'rich', 'pvefi.cli.boot'} & set(sys.modules)\n"
        "sys.exit(f'{status} {heavy}' if status or heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    for verb in cli.VERBS:
        assert f"\n  {verb} " in done.stdout


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_that_is_listed_exists(verb: str, capsys: Captured) -> None:
    assert cli.main([verb, "--help"]) == 0
    assert f"pvefi {verb}" in capsys.readouterr().out


def test_the_version_is_the_packages() -> None:
    done = pvefi("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, "pvefi 0.1.0\n", "")


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["boot", "program.efi"],
        ["boot", "program.efi", "--json"],
        ["inspect", "program.efi"],
        ["inspect", "program.efi", "--json"],
        ["trace", "show", "trace"],
        ["trace", "show", "trace", "--json"],
        ["trace", "summary", "trace"],
    ],
    ids=" ".join,
)
def test_a_reader_that_goes_away_ends_it_quietly(tmp_path: Path, words: list[str]) -> None:
    returning_success = PeSection(data=bytes.fromhex("31c0c3").ljust(0x200, b"\0"))
    (tmp_path / "program.efi").write_bytes(build_pe(sections=[returning_success]))
    TraceWriter(tmp_path / "trace", TraceHeader("program.efi")).close()
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pvefi", *words],
            check=False,
            stdout=write,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (ExitStatus.BROKEN_PIPE, b"")


def test_a_reader_of_errors_that_goes_away_ends_it_quietly() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pvefi", "bot"], check=False, stdout=subprocess.PIPE, stderr=write
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stdout) == (ExitStatus.BAD_INPUT, b"")


def test_a_full_disk_under_the_output_is_said() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "pvefi", "--help"],
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (done.returncode, done.stderr) == (2, "pvefi: cannot write: no space left on device\n")


def test_closed_output_streams_do_no_harm() -> None:
    for words in ("--help", "bot"):
        done = subprocess.run(
            ["sh", "-c", f'exec "{sys.executable}" -m pvefi {words} >&- 2>&-'],
            check=False,
            capture_output=True,
        )
        assert done.returncode in (0, 2)
        assert not done.stdout
        assert not done.stderr


def test_the_statuses_are_those_of_the_documentation() -> None:
    numbers = {status.name: int(status) for status in ExitStatus}
    assert numbers == {
        "OK": 0,
        "GUEST_FAILED": 1,
        "BAD_INPUT": 2,
        "NO_MACHINE": 3,
        "BUG": 70,
        "TIMEOUT": 124,
        "HUNG_UP": 129,
        "INTERRUPTED": 130,
        "BROKEN_PIPE": 141,
        "TERMINATED": 143,
    }
    assert all(status.meaning for status in ExitStatus)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4K", 4096),
        ("512M", 512 << 20),
        ("6G", 6 << 30),
        ("1g", 1 << 30),
        ("64MiB", 64 << 20),
        ("8MB", 8 << 20),
    ],
)
def test_a_size_is_a_number_with_its_unit(text: str, size: int) -> None:
    assert SIZE.convert(text, None, None) == size


@pytest.mark.parametrize(
    ("text", "way_out"),
    [
        ("", "write a whole number"),
        ("1.5G", "write a whole number"),
        ("-1M", "write a whole number"),
        ("0x10M", "write a whole number"),
        ("٣M", "write a whole number"),
        ("9" * 5000 + "M", "write a whole number"),
        ("1T", "write a whole number"),
        ("512", "write 512M, or K or G"),
        ("0", "write 512M, or K or G"),
        ("0M", "is nothing"),
    ],
    ids=lambda text: text[:20],
)
def test_what_is_no_size_is_refused_with_the_way_out(text: str, way_out: str) -> None:
    with pytest.raises(click.BadParameter, match=way_out):
        SIZE.convert(text, None, None)


@given(st.text())
def test_a_size_is_positive_or_refused(text: str) -> None:
    try:
        size = SIZE.convert(text, None, None)
    except click.BadParameter:
        return
    assert size > 0
