# SPDX-License-Identifier: GPL-2.0-or-later
"""`pvefi serve`: what it refuses before anything happens, what it tells, and how an end becomes a status."""

from __future__ import annotations

import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from pvefi.cli import main, serve
from pvefi.cli.status import ExitStatus
from pvefi.errors import MachineError, UsageError
from pvefi.guest import load_trampoline
from pvefi.machines.xen.ends import DomainEnd
from pvefi.machines.xen.held import HeldDomain
from pvefi.machines.xen.host import on_xen
from pvefi.serve import Served
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import CallEvent
from pvefi.verdict import Outcome, Verdict
from tests.conftest import lacks

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_trampoline_is_written_for_xl(tmp_path: Path) -> None:
    file = tmp_path / "trampoline"
    assert main(["serve", "--trampoline", str(file)]) == 0
    assert file.read_bytes() == load_trampoline().elf


def test_a_folder_for_the_trampoline_is_made(tmp_path: Path) -> None:
    file = tmp_path / "lib" / "pvefi" / "trampoline"
    assert main(["serve", "--trampoline", str(file)]) == 0
    assert file.read_bytes() == load_trampoline().elf
    assert list(file.parent.iterdir()) == [file]


def test_the_trampoline_goes_through_a_pipe_too(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor() as reader:
        read = reader.submit((tmp_path / "pipe").read_bytes)
        assert main(["serve", "--trampoline", str(tmp_path / "pipe")]) == 0
        assert read.result(60) == load_trampoline().elf


@pytest.mark.parametrize("options", [[], ["--vars", "/var/lib/pvefi/web.fd"]])
def test_the_unit_of_systemd_serves_a_domain_of_whatever_name(options: list[str]) -> None:
    unit = (REPOSITORY / "contrib" / "pvefi@.service").read_text().splitlines()
    (line,) = (line for line in unit if line.startswith("ExecStart="))
    given = {"%i": ["--help"], "${KERNEL}": ["/boot/vmlinuz"], "$OPTIONS": options}
    program, name, *words = line.partition("=")[2].split()
    assert (program, name) == ("/usr/bin/pvefi", "serve")
    with serve.command.make_context(name, [one for word in words for one in given.get(word, [word])]) as told:
        assert told.params["domains"] == ("--help",)
        assert told.params["kernel"] == Path("/boot/vmlinuz")


def test_a_worker_goes_on_with_what_was_left_and_with_what_had_not_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left = [HeldDomain(7, "web", "", 0), HeldDomain(9, "db", "", 0)]
    monkeypatch.setattr(serve, "left_behind", lambda _: left)
    monkeypatch.setattr(serve, "not_begun", lambda name: name == "mail")
    assert serve._left(("web", "mail", "done", "9", "web"), "1-1") == ("web", "mail", "9")


def test_domains_are_looked_for_before_any_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    def attach(name: str, *, fresh: bool) -> SimpleNamespace:
        if name == "nosuch":
            raise UsageError("there is no domain nosuch")
        return SimpleNamespace(close=lambda: None)

    monkeypatch.setattr(serve, "left_behind", lambda _: [])
    monkeypatch.setattr(serve, "attach", attach)
    assert serve._left(("web", "mail", "web"), "1-1") == ("web", "mail")
    with pytest.raises(UsageError, match="nosuch"):
        serve._left(("web", "nosuch", "mail"), "1-1")


@pytest.mark.parametrize("option", ["--kernel", "--initrd"])
def test_a_file_that_is_not_there_is_told_first(capsys: pytest.CaptureFixture[str], option: str) -> None:
    status, text = refused(capsys, "web", option, "/no/such/file")
    assert status == ExitStatus.BAD_INPUT
    assert "/no/such/file" in text


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    status = main(["serve", *words])
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("pvefi: ")
    assert told.err.count("\n") == 1
    return status, told.err


def test_without_a_domain_there_is_nothing_to_serve(capsys: pytest.CaptureFixture[str]) -> None:
    status, text = refused(capsys)
    assert status == ExitStatus.BAD_INPUT
    assert "expected a domain to serve" in text


def test_one_file_of_variables_is_not_for_two(capsys: pytest.CaptureFixture[str]) -> None:
    status, text = refused(capsys, "one", "two", "--vars", "vars.fd")
    assert status == ExitStatus.BAD_INPUT
    assert "--vars" in text


def test_where_there_is_no_xen_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    if on_xen():
        lacks("a host that does not run on Xen")
    status, text = refused(capsys, "web")
    assert status == ExitStatus.NO_MACHINE
    assert "does not run on Xen" in text


@pytest.mark.parametrize(
    ("end", "status", "words"),
    [
        (Served(Verdict(Outcome.POWERED_OFF, "it did"), None), ExitStatus.OK, "powered off: it did"),
        (Served(Verdict(Outcome.REBOOTED, "it did"), None), ExitStatus.OK, "rebooted"),
        (Served(Verdict(Outcome.DIED, "x"), DomainEnd.GONE), ExitStatus.OK, "somebody has destroyed it"),
        (Served(Verdict(Outcome.DIED, "x"), DomainEnd.SUSPENDED), ExitStatus.OK, "saved or migrated"),
        (Served(Verdict(Outcome.DIED, "lost"), None), ExitStatus.NO_MACHINE, "lost"),
        (Served(Verdict(Outcome.BAD_REQUEST, "x"), None), ExitStatus.GUEST_FAILED, "bad request"),
        (UsageError("expected another"), ExitStatus.BAD_INPUT, "expected another"),
        (MachineError("xenstored is gone"), ExitStatus.NO_MACHINE, "xenstored"),
    ],
)
def test_each_end_is_a_line_and_a_status(
    capsys: pytest.CaptureFixture[str], end: Served | BaseException, status: ExitStatus, words: str
) -> None:
    assert serve._told("web", end, serve.Log(as_json=False)) == status
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("pvefi: web: ")
    assert words in told.err
    assert told.err.count("\n") == 1


def test_a_bug_is_not_told_but_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        serve._told("web", ZeroDivisionError(), serve.Log(as_json=False))


def test_programs_get_an_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    log = serve.Log(as_json=True)
    log.tell("web", "serving", "serves it")
    log.call("web", CallEvent(3, "GetTime", (), EfiStatus.SUCCESS, None, (), 1.0, None, "", 0))
    told = capsys.readouterr()
    assert [json.loads(line) for line in told.out.splitlines()] == [
        {"domain": "web", "event": "serving", "text": "serves it"},
        {"domain": "web", "event": "call", "index": 3, "service": "GetTime", "status": "EFI_SUCCESS"},
    ]
    assert told.err == ""


def test_people_are_not_told_of_each_call(capsys: pytest.CaptureFixture[str]) -> None:
    log = serve.Log(as_json=False)
    log.call("web", CallEvent(3, "GetTime", (), EfiStatus.SUCCESS, None, (), 1.0, None, "", 0))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told_where_it_wants_to_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool
) -> None:
    name = f"@{tmp_path.name}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name.replace("@", "\0", 1) if abstract else name)
        listening.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        serve._notify("READY=1")
        assert listening.recv(100) == b"READY=1"


def test_nobody_else_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    serve._notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/at/all")
    serve._notify("READY=1")
