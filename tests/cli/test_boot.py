# SPDX-License-Identifier: GPL-2.0-or-later
"""`pvefi boot` as a program: what it prints where, and its exit statuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pvefi.cli import boot as boot_command
from pvefi.cli import main
from pvefi.cli.boot import told
from pvefi.cli.status import ExitStatus
from pvefi.errors import MachineError
from pvefi.prepare import PreparedBoot
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.jsonl import read_trace
from pvefi.verdict import BootResult, Outcome
from tests.build.bzimage import build_bzimage
from tests.build.pe import PeSection, build_pe
from tests.conftest import RealFiles
from tests.report.made import result

PVEFI = (sys.executable, "-m", "pvefi", "boot", "--machine", "embedded")

LOOP = "ebfe"  # jmp .
FAULT = "488b042500000000"  # mov 0, %rax
# mov 0x40(%rdx), %rcx (ConOut); lea string(%rip), %rdx; sub $0x28, %rsp; call *8(%rcx); add $0x28, %rsp;
# xor %eax, %eax; ret; "Hi\r\n"
GREET = "488b4a40488d150e0000004883ec28ff51084883c42831c0c348006900 0d000a000000"


def program(tmp_path: Path, code: str, **fields: int) -> Path:
    path = tmp_path / "program.efi"
    text = PeSection(data=bytes.fromhex(code).ljust(0x200, b"\0"))
    path.write_bytes(build_pe(sections=[text], **fields))
    return path


def returning(status: int) -> str:
    return f"48b8{status.to_bytes(8, 'little').hex()}c3"  # movabs $status, %rax; ret


def pvefi(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [*PVEFI, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_program_that_returns_success_is_status_0(tmp_path: Path) -> None:
    done = pvefi(program(tmp_path, returning(0)))
    assert (done.returncode, done.stderr) == (ExitStatus.OK, "")
    assert done.stdout.startswith("exited: program.efi ended with EFI_SUCCESS\n")


def test_a_program_that_returns_anything_else_is_status_1_and_named(tmp_path: Path) -> None:
    done = pvefi(program(tmp_path, returning(EfiStatus.ABORTED)), "--json")
    assert done.returncode == ExitStatus.GUEST_FAILED
    assert json.loads(done.stdout)["verdict"]["status"]["name"] == "EFI_ABORTED"


def test_a_status_without_a_name_is_shown_as_its_number(tmp_path: Path) -> None:
    done = pvefi(program(tmp_path, returning(0x1234)))
    assert done.returncode == ExitStatus.GUEST_FAILED
    assert "0x1234" in done.stdout.splitlines()[0]


def test_the_guests_text_goes_to_stdout_before_the_report(tmp_path: Path) -> None:
    done = pvefi(program(tmp_path, GREET))
    assert done.stdout.splitlines()[:2] == [
        "Hi",
        'exited: program.efi ended with EFI_SUCCESS; the last that it said: "Hi"',
    ]


def test_json_is_one_document_on_stdout_and_the_guests_text_on_stderr(tmp_path: Path) -> None:
    done = pvefi(program(tmp_path, GREET), "--json")
    document = json.loads(done.stdout)
    assert (document["schema"], document["version"]) == ("pvefi/boot", 1)
    assert done.stderr == "Hi\n"


def test_a_program_that_loops_for_ever_times_out_with_124(tmp_path: Path) -> None:
    done = pvefi(program(tmp_path, LOOP), "--timeout", 0.3)
    assert done.returncode == ExitStatus.TIMEOUT
    assert "timed out: no end within 0.3 s, the guest was at program.efi+0x1000" in done.stdout


@pytest.mark.parametrize(
    ("number", "status", "line"),
    [
        (signal.SIGINT, ExitStatus.INTERRUPTED, "interrupted"),
        (signal.SIGTERM, ExitStatus.TERMINATED, "ended by SIGTERM"),
        (signal.SIGHUP, ExitStatus.HUNG_UP, "ended by SIGHUP"),
    ],
)
def test_a_signal_ends_with_its_status_and_one_line(
    tmp_path: Path, number: signal.Signals, status: ExitStatus, line: str
) -> None:
    trace = tmp_path / "trace"
    with subprocess.Popen(
        [*PVEFI, program(tmp_path, LOOP), "--trace", trace], stderr=subprocess.PIPE, text=True
    ) as process:
        while not trace.exists():
            time.sleep(0.02)
        time.sleep(0.3)
        process.send_signal(number)
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (status, f"pvefi: {line}\n")


def test_a_fault_names_the_place_in_the_image(tmp_path: Path) -> None:
    done = pvefi(program(tmp_path, FAULT))
    assert done.returncode == ExitStatus.GUEST_FAILED
    assert done.stdout.startswith("faulted: page fault at program.efi+0x1000 (0x1001000) for address 0x0;")


@pytest.mark.parametrize(
    ("code", "options", "line"),
    [
        (returning(EfiStatus.ABORTED), [], "pvefi: exited: program.efi ended with EFI_ABORTED"),
        (FAULT, [], "pvefi: faulted: page fault at program.efi+0x1000 "),
        (LOOP, ["--timeout", "0.3"], "pvefi: timed out: no end within 0.3 s, "),
    ],
    ids=["exited", "faulted", "timed out"],
)
@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["text", "json"])
def test_a_boot_that_fails_says_why_in_one_line_on_stderr(
    tmp_path: Path, code: str, options: list[str], line: str, as_json: list[str]
) -> None:
    done = pvefi(program(tmp_path, code), *options, *as_json)
    assert done.returncode != ExitStatus.OK
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1


def test_of_several_boots_each_that_fails_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = result(Outcome.FAULTED, "page fault")
    assert told([replace(made, entry="efi"), result(), replace(made, entry="pvh")]) == 1
    assert capsys.readouterr().err == "pvefi: efi: faulted: page fault\npvefi: pvh: faulted: page fault\n"


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_no_harm_and_no_file_gets_their_numbers(tmp_path: Path, closed: str) -> None:
    trace = tmp_path / "trace"
    words = [*PVEFI, str(program(tmp_path, GREET)), "--trace", str(trace)]
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *words], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (ExitStatus.OK, "")
    assert done.stdout.startswith("Hi\n" if closed == "2>&-" else "")
    assert len(read_trace(trace).events) == 1


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
    ids=["ascii", "the C locale"],
)
def test_text_that_the_output_s_encoding_lacks_is_spelled_out(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    image = program(tmp_path, GREET.replace("48006900", "e5004e78"))  # "\xe5" and a Han character
    image = image.rename(tmp_path / "\xe5.efi")
    for options in ([], ["--json"]):
        done = subprocess.run(
            [*PVEFI, str(image), *options], capture_output=True, check=False, env=os.environ | environment
        )
        assert done.returncode == ExitStatus.OK, done.stderr
        assert b"\\xe5\\u784e\n" in done.stdout + done.stderr


def test_a_trace_is_written_call_by_call(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    pvefi(program(tmp_path, GREET), "--trace", trace)
    read = read_trace(trace)
    assert [event.service for event in read.events] == ["EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL.OutputString"]
    assert dict(read.events[0].arguments)["String"] == "Hi\r\n"
    assert read.verdict is not None
    assert read.verdict.outcome is Outcome.EXITED


def test_a_killed_boot_leaves_a_trace_that_can_be_read(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    greet_and_loop = program(tmp_path, GREET.replace("31c0c3", "ebfe90"))
    with subprocess.Popen([*PVEFI, greet_and_loop, "--trace", trace], stdout=subprocess.DEVNULL) as process:
        while not trace.exists() or len(trace.read_bytes().splitlines()) < 2:
            time.sleep(0.02)
        process.kill()
    read = read_trace(trace)
    assert len(read.events) == 1
    assert read.verdict is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--memory", "1M"], "expected at least 16 MiB of memory"),
        (["--memory", "900000G"], "expected at most the host's"),
        (["--memory", "lots"], "is not a size"),
        (["--initrd", "/nonexistent/initrd"], "expected an initial ramdisk, found: No such file"),
        (["--initrd", "/dev/zero"], "expected an initial ramdisk, found a device"),
        (["--entry", "pvh"], "expected an image with the 32-bit entry pvh"),
        (["--entry", "linux16"], "'linux16' is not one of 'efi'"),
        (["--boot-info", "setup-data"], "expected an entry that carries hypervisor information by"),
        (["--timeout", "0"], "'0' is no time"),
        (["--timeout", "nan"], "'nan' is no time"),
        (["--timeout", "inf"], "'inf' is no time"),
        (["--timeout", "1e300"], "'1e300' is no time (write seconds: more than 0, at most 2592000)"),
        (["--timeout", "soon"], "'soon' is no time"),
        (["--trace", "/nonexistent/trace"], "cannot write the trace"),
    ],
)
def test_bad_options_are_one_line_and_status_2(tmp_path: Path, options: list[str], words: str) -> None:
    done = pvefi(program(tmp_path, returning(0)), *options)
    assert done.returncode == ExitStatus.BAD_INPUT
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_an_initrd_larger_than_memory_is_refused_before_anything_runs(tmp_path: Path) -> None:
    initrd = tmp_path / "initrd"
    with initrd.open("wb") as file:
        file.truncate(64 << 20)
    done = pvefi(program(tmp_path, returning(0)), "--initrd", initrd, "--memory", "32M")
    assert done.returncode == ExitStatus.BAD_INPUT
    assert "found 64 MiB (give a larger --memory)" in done.stderr


def test_an_image_larger_than_memory_says_how_much_it_wants(tmp_path: Path) -> None:
    big = program(tmp_path, returning(0), size_of_image=256 << 20)
    done = pvefi(big, "--memory", "64M")
    assert done.returncode == ExitStatus.BAD_INPUT
    assert "expected 256 MiB of free memory in a row for the image" in done.stderr
    assert "--memory 288M" in done.stderr


def test_the_trace_never_overwrites_the_input(tmp_path: Path) -> None:
    image = program(tmp_path, returning(0))
    before = image.read_bytes()
    done = pvefi(image, "--trace", image)
    assert done.returncode == ExitStatus.BAD_INPUT
    assert image.read_bytes() == before


def test_a_pipe_that_nobody_reads_is_refused_as_a_trace(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    done = pvefi(program(tmp_path, returning(0)), "--trace", tmp_path / "pipe")
    assert done.returncode == ExitStatus.BAD_INPUT
    assert "cannot write the trace: nobody reads this pipe" in done.stderr


def test_a_trace_may_go_to_a_device_but_not_where_the_report_goes(tmp_path: Path) -> None:
    image = program(tmp_path, returning(0))
    assert pvefi(image, "--trace", "/dev/null").returncode == ExitStatus.OK
    with (tmp_path / "report").open("wb") as report:
        command = [*PVEFI, str(image), "--trace", "/dev/stdout"]
        done = subprocess.run(command, stdout=report, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == ExitStatus.BAD_INPUT
    assert "found the one that the output goes to" in done.stderr


def test_an_image_without_an_efi_entry_says_which_entries_it_has(tmp_path: Path) -> None:
    done = pvefi(program(tmp_path, returning(0), machine=0xAA64))
    assert done.returncode == ExitStatus.BAD_INPUT
    assert "expected an image with the 64-bit entry efi" in done.stderr


def test_a_kernel_reports_its_hand_off(corpus: RealFiles) -> None:
    done = pvefi(corpus.file("cloud", "boot/vmlinuz-*"), "--cmdline", "quiet", "--json")
    document = json.loads(done.stdout)
    assert done.returncode == ExitStatus.OK
    assert document["verdict"]["outcome"] == "hand-off"
    assert document["handoff"]["path"]["decompressor"] == "bypassed"
    assert document["handoff"]["command_line"] == "quiet"


def test_all_entries_end_in_one_table(corpus: RealFiles) -> None:
    done = pvefi(corpus.file("cloud", "boot/vmlinuz-*"), "--entry", "all")
    rows = [line.split() for line in done.stdout.splitlines()[-6:]]
    assert done.returncode == ExitStatus.OK
    assert [row[:3] for row in rows] == [
        ["efi", "hand-off", "bypassed"],
        ["efi-handover", "hand-off", "bypassed"],
        ["linux64", "hand-off", "entered"],
        ["kexec", "hand-off", "entered"],
        ["linux32", "hand-off", "entered"],
        ["pvh", "hand-off", "bypassed"],
    ]


def test_all_entries_are_those_that_the_image_has(tmp_path: Path) -> None:
    done = pvefi(program(tmp_path, returning(0)), "--entry", "all", "--json")
    document = json.loads(done.stdout)
    assert (document["schema"], document["version"]) == ("pvefi/boots", 1)
    assert [boot["entry"] for boot in document["boots"]] == ["efi"]


def test_a_machine_that_fails_for_one_entry_loses_no_other_s_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    booted = boot_command._boot

    def failing(prepared: PreparedBoot, *arguments: Any, **more: Any) -> BootResult:
        if prepared.options.entry == "linux64":
            raise MachineError("the machine is not there", "get one")
        return booted(prepared, *arguments, **more)

    monkeypatch.setattr(boot_command, "_boot", failing)
    image = tmp_path / "vmlinuz"
    image.write_bytes(build_bzimage(with_pe=False))
    status = main(["boot", "--machine", "embedded", "--entry", "all", "--timeout", "5", str(image)])
    shown = capsys.readouterr()
    assert status >= ExitStatus.NO_MACHINE
    assert "pvefi: linux64: died: the machine is not there (get one)" in shown.err
    assert "\nlinux32" in shown.out
