# SPDX-License-Identifier: GPL-2.0-or-later
"""The witness's program is what its source gives, and what it says is read whatever stands around it."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import zlib
from importlib.resources import files as package_files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build_guest import PROBE, build_witness
from pvefi.image.elf import Elf64Header, Elf64ProgramHeader, ElfMachine, ElfType, SegmentType
from pvefi.image.initrd import initrd_text
from pvefi.probe.lines import probe_boots
from pvefi.probe.witness import KernelText, kernel_text, read_witness, witness_initrd
from tests.conftest import Tool

KERNEL = b"[    1.234567] random: crng init done\r\n"
PIECE = 576


def summed(word: bytes, body: bytes) -> bytes:
    return b"PVEFI-PROBE %s %08x %s\r\n" % (word, zlib.crc32(body), body)


def pieces(path: str, data: bytes, size: int | None = None) -> list[bytes]:
    size = len(data) if size is None else size
    return [
        summed(
            b"file",
            b"%s %08x %08x %s" % (path.encode(), at, size, base64.b64encode(data[at : at + PIECE])),
        )
        for at in range(0, max(len(data), 1), PIECE)
    ]


UP = b"PVEFI-PROBE up\r\nPVEFI-PROBE clock 1.590\r\n" + summed(b"counter", b"000000005c66c52d")
LOG = bytes(range(256)) * 9
TOLD = [*pieces("/proc/version", b"Linux version 6.1"), *pieces("/proc/kmsg", LOG)]
END = b"PVEFI-PROBE end poweroff\r\n"


def test_the_committed_program_is_what_the_source_gives(
    tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = {str(Path(tool(name)).parent) for name in ("as", "ld")}
    monkeypatch.setenv("PATH", os.pathsep.join([*sorted(folders), os.environ["PATH"]]))
    build_witness(tmp_path / "witness.elf")
    assert (tmp_path / "witness.elf").read_bytes() == (PROBE / "witness.elf").read_bytes(), "make guest"


def test_names_of_a_folder_are_asked_for_only_while_what_comes_fits(tool: Tool) -> None:
    command = [tool("objdump"), "-d", "--no-show-raw-insn", str(PROBE / "witness.elf")]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    asks = told.split("mov    $0xd9,%eax")[1]  # getdents64
    entries, asked, full = (
        int(re.findall(rf"\$(0x[0-9a-f]+),%{register}\b", asks)[0], 16) for register in ("esi", "edx", "r14")
    )
    assert full + asked <= entries, "the names stand before the entries, and none is longer than its entry"


def test_the_program_is_static_and_no_memory_of_it_is_both_written_and_executed(tool: Tool) -> None:
    path = str(PROBE / "witness.elf")
    told = subprocess.run([tool("readelf"), "-hlW", path], check=True, capture_output=True, text=True).stdout
    assert "ELF64" in told
    assert "EXEC (Executable file)" in told
    assert "INTERP" not in told
    assert "DYNAMIC" not in told
    flags = [line.split()[6:-1] for line in told.splitlines() if line.split()[:1] == ["LOAD"]]
    assert flags == [["R", "E"], ["RW"]]
    assert Path(path).stat().st_size < 4096


def test_the_initrd_has_the_program_a_console_and_mount_points(tool: Tool) -> None:
    initrd = witness_initrd()
    assert initrd_text(initrd) == "an initrd (cpio archive)"
    done = subprocess.run([tool("cpio"), "-itv", "--quiet"], input=initrd, capture_output=True, check=True)
    lines = [(line.split()[0], line.split()[-1]) for line in done.stdout.decode().splitlines()]
    assert lines == [
        *(("drwxr-xr-x", name) for name in ("dev", "proc", "sys")),
        *(("crw-------", "dev/console"), ("-rwxr-xr-x", "init")),
    ]
    assert package_files("pvefi.probe").joinpath("witness.elf").read_bytes() in initrd


def test_all_that_it_says_is_read() -> None:
    witness = read_witness(KERNEL + UP + b"".join(TOLD) + END)
    assert witness
    assert (witness.counter, witness.clock, witness.end) == (0x5C66C52D, 1.59, "poweroff")
    assert witness.files == {"/proc/version": b"Linux version 6.1", "/proc/kmsg": LOG}
    assert (witness.broken, witness.damaged) == ((), 0)


def test_kernel_messages_between_its_lines_do_no_harm() -> None:
    witness = read_witness(UP + KERNEL + KERNEL.join(TOLD) + KERNEL + END)
    assert witness
    assert witness.files["/proc/kmsg"] == LOG
    assert witness.damaged == 0


@pytest.mark.parametrize("at", [20, 30, 45, 60, 400])
def test_a_message_within_a_line_costs_that_file_alone_and_is_counted(at: int) -> None:
    torn = TOLD[2][:at] + KERNEL + TOLD[2][at:]
    witness = read_witness(UP + b"".join([*TOLD[:2], torn, *TOLD[3:]]) + END)
    assert witness
    assert witness.files == {"/proc/version": b"Linux version 6.1"}
    assert (witness.broken, witness.damaged) == (("/proc/kmsg",), 1)


def test_a_console_that_breaks_off_leaves_what_was_whole_until_then() -> None:
    witness = read_witness(UP + b"".join(TOLD[:3]))
    assert witness
    assert witness.files == {"/proc/version": b"Linux version 6.1"}
    assert (witness.end, witness.broken) == (None, ("/proc/kmsg",))


def test_an_empty_file_is_there() -> None:
    witness = read_witness(UP + b"".join(pieces("/proc/empty", b"")))
    assert witness
    assert witness.files == {"/proc/empty": b""}


@pytest.mark.parametrize("size", [0, 1, len(LOG) - 1, len(LOG) + 1, 0xFFFFFFFF])
def test_a_size_that_is_not_that_of_the_bytes_makes_no_file(size: int) -> None:
    witness = read_witness(UP + b"".join(pieces("/proc/kmsg", LOG, size)) + END)
    assert witness
    assert (witness.files, witness.broken) == ({}, ("/proc/kmsg",))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"/proc/x",
        b"/proc/x 00000000 00000003",
        b"/proc/x 00000000 00000003 QQ=A",
        b"/proc/x 00000000 00000003 QUJDR",
        b"/proc/x 0 3 QUJD",
        b"proc/x 00000000 00000003 QUJD",
        b"/proc/x y 00000000 00000003 QUJD",
        b"/proc/\x1b[2J 00000000 00000003 QUJD",
    ],
)
def test_a_sum_that_fits_nonsense_makes_no_file(body: bytes) -> None:
    witness = read_witness(UP + summed(b"file", body) + summed(b"counter", b"12") + END)
    assert witness
    assert (witness.files, witness.broken, witness.damaged) == ({}, (), 2)
    assert witness.counter == 0x5C66C52D


def test_the_last_boot_counts() -> None:
    first = UP + b"".join(TOLD) + END
    witness = read_witness(first + KERNEL + b"PVEFI-PROBE up\r\n")
    assert witness
    assert (witness.counter, witness.clock, dict(witness.files)) == (None, None, {})
    assert [len(boot.files) for boot in probe_boots(first + b"PVEFI-PROBE up\r\n")] == [2, 0]


def test_a_guest_that_never_came_up_has_no_witness() -> None:
    assert read_witness(KERNEL + b"".join(TOLD)) is None


@given(st.binary(), st.lists(st.sampled_from(TOLD)), st.binary())
def test_no_console_text_is_an_error(before: bytes, told: list[bytes], after: bytes) -> None:
    witness = read_witness(b"\n" + UP + before + b"\n" + b"".join(told) + after)
    assert witness
    assert set(witness.files) | set(witness.broken) <= {"/proc/version", "/proc/kmsg"}


def core(*parts: tuple[int, int], count: int | None = None) -> bytes:
    """Return headers as /proc/kcore begins with: (virtual, physical) of each part that is loaded."""
    header = Elf64Header(
        ident=b"\x7fELF\2\1\1".ljust(16, b"\0"),
        type=ElfType.CORE,
        machine=ElfMachine.X86_64,
        version=1,
        entry=0,
        program_offset=64,
        section_offset=0,
        flags=0,
        header_size=64,
        program_header_size=56,
        program_count=len(parts) if count is None else count,
        section_header_size=0,
        section_count=0,
        section_names=0,
    )
    return header.pack() + b"".join(
        Elf64ProgramHeader(SegmentType.LOAD, 7, 0, virtual, physical, 4096, 4096, 4096).pack()
        for virtual, physical in parts
    )


NOWHERE = (1 << 64) - 1
DIRECT, MODULES = (0xFF32EE8640001000, 0x1000), (0xFFFFFFFFC0000000, NOWHERE)


def test_the_kernels_place_is_that_part_of_its_map_which_has_a_physical_address() -> None:
    told = core(DIRECT, MODULES, (0xFFFFFFFF9E800000, 0x19800000))
    assert kernel_text({"/proc/kcore": told}) == KernelText(0xFFFFFFFF9E800000, 0x19800000)


@pytest.mark.parametrize("told", [b"", b"\x7fELF", core(), core(DIRECT, MODULES), core(DIRECT, count=0xFFFF)])
def test_headers_without_it_tell_nothing_of_the_kernels_place(told: bytes) -> None:
    assert kernel_text({"/proc/kcore": told}) is None
    assert kernel_text({}) is None
