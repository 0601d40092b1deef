# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvefi.console_watch import ConsoleMark, ConsoleWatch, MarkKind
from tests.conftest import RealFiles, Tool
from tests.machines.qemu.started import started_qemu

# As Debian's 6.1 kernel writes them.
BOOT = (
    b"EFI stub: Loaded initrd from LINUX_EFI_INITRD_MEDIA_GUID device path\r\n"
    b"[    0.000000] Linux version 6.1.0-56-cloud-amd64 (debian-kernel@lists.debian.org)\r\n"
    b"[    0.941245] Run /init as init process\r\n"
    b"[    0.941301]   with arguments:\r\n"
    b"[    0.941340]     /init\r\n"
    b"PVEFI-PROBE up\r\n"
    b"PVEFI-PROBE clock 0.95\r\n"
    b"[    0.967262] reboot: Power down\r\n"
)
MARKS = (
    ConsoleMark(MarkKind.KERNEL, "Linux version 6.1.0-56-cloud-amd64 (debian-kernel@lists.debian.org)"),
    ConsoleMark(MarkKind.USER_SPACE, "Run /init as init process"),
    ConsoleMark(MarkKind.PROBE, "PVEFI-PROBE up"),
    ConsoleMark(MarkKind.POWER_OFF, "reboot: Power down"),
)


def kinds(*pieces: bytes) -> list[MarkKind]:
    watch = ConsoleWatch()
    return [mark.kind for piece in pieces for mark in watch.feed(piece)]


@given(st.lists(st.integers(0, len(BOOT))))
def test_the_stages_of_a_boot_are_told_wherever_the_stream_is_cut(cuts: list[int]) -> None:
    watch = ConsoleWatch()
    ends = [*sorted(cuts), len(BOOT)]
    starts = [0, *ends]
    marks = [mark for a, b in zip(starts, ends, strict=False) for mark in watch.feed(BOOT[a:b])]
    assert tuple(marks) == MARKS


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b"Run /sbin/init as init process", MarkKind.USER_SPACE),
        (b"Run /my init as init process", MarkKind.USER_SPACE),
        (b"Failed to execute /init (error -2)", MarkKind.INIT_FAILED),
        (b"Starting init: /bin/sh exists but couldn't execute it (error -8)", MarkKind.INIT_FAILED),
        (b"Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)", MarkKind.PANIC),
        (b"---[ end Kernel panic - not syncing: sysrq triggered crash ]---", MarkKind.PANIC_STAYS),
        (b"reboot: Power down", MarkKind.POWER_OFF),
        (b"reboot: Restarting system", MarkKind.RESTART),
        (b"reboot: Restarting system with command 'bootloader'", MarkKind.RESTART),
        (b"reboot: machine restart", MarkKind.RESTART),
        (b"reboot: System halted", MarkKind.HALT),
        (b"kexec_core: Starting new kernel", MarkKind.KEXEC),
        (b"reboot: Power off not available: System halted instead", MarkKind.HALT),
    ],
)
@pytest.mark.parametrize(
    "before",
    [
        b"",
        b"[    0.000000] ",
        b"[12345.678901] ",
        b"[    1.234567][    T1] ",
        b"<4>[    1.234567] ",
        b"\x1b[0m\x1b[2J\x1b[1;1H[    1.234567] ",
        b"\x1b]0;title\x07[    1.234567] ",
        b"/ # [    1.234567] ",
        b"pvefi login: [    1.234567] ",
        b"half of a line\r[    1.234567] ",
    ],
)
def test_each_of_the_kernels_lines_is_known_with_its_text(line: bytes, kind: MarkKind, before: bytes) -> None:
    assert ConsoleWatch().feed(before + line + b"\r\n") == (ConsoleMark(kind, line.decode()),)


@pytest.mark.parametrize(
    "line",
    [
        b"# echo reboot: Power down",
        b"the log says: reboot: Power down",
        b"'[    1.234567] reboot: Power down'",
        b"kernel: [    1.234567] Kernel panic - not syncing: quoted",
        b"[    1.234567] systemd[1]: reboot: Power down",
        b"[    1.234567] reboot: Power down, they said",
        b"[    1.234567] Run /init as init process once more",
        b"[  OK  ] Reached target reboot: Power down",
        b"say PVEFI-PROBE up",
    ],
)
def test_a_line_that_quotes_the_kernel_says_nothing(line: bytes) -> None:
    assert kinds(line + b"\n") == []


def test_once_the_kernel_gave_a_time_stamp_lines_without_one_are_not_its_own() -> None:
    quoted = b"reboot: Power down\r\n"
    assert kinds(quoted) == [MarkKind.POWER_OFF]
    assert kinds(b"[    0.000000] Linux version 6.1\r\n", quoted) == []


@pytest.mark.parametrize(
    ("own", "read"), [(b"", b"<0>"), (b"<6>", b"")], ids=["without priorities", "with priorities"]
)
def test_lines_in_the_other_form_than_the_kernel_s_are_a_log_that_is_read(own: bytes, read: bytes) -> None:
    first = own + b"[    0.100000] Memory: 480000K\r\n"
    panic = b"[   11.500000] Kernel panic - not syncing: of old\r\n"
    assert kinds(first, read + panic, read + BOOT.splitlines(keepends=True)[1]) == []
    assert kinds(first, own + panic) == [MarkKind.PANIC]
    restart = own + b"[    9.000000] reboot: Restarting system\r\n"
    assert kinds(first, restart, read + panic) == [MarkKind.RESTART, MarkKind.PANIC]


@pytest.mark.parametrize("before", [b"", b"<5>", b"half of a line\r"])
def test_a_kernel_begins_with_its_version_at_time_0(before: bytes) -> None:
    banner = b"[    0.000000] Linux version 6.1.0-56-cloud-amd64 (debian) (gcc-12) #1 SMP\r\n"
    assert kinds(before + banner) == [MarkKind.KERNEL]
    again = BOOT + b"[    2.000000] kexec_core: Starting new kernel\r\n"
    assert kinds(again, before + banner, b"PVEFI-PROBE up\r\n")[-2:] == [MarkKind.KERNEL, MarkKind.PROBE]
    version = banner.removeprefix(b"[    0.000000] ")
    assert kinds(before + version, b"[    3.000000] " + version, b"say [    0.000000] " + version) == []


def test_after_a_restart_another_kernel_may_give_no_time_stamps() -> None:
    first = b"[    9.000000] reboot: Restarting system\r\n"
    assert kinds(BOOT, first, b"Run /init as init process\r\nPVEFI-PROBE up\r\n") == [
        *(mark.kind for mark in MARKS),
        MarkKind.RESTART,
        MarkKind.USER_SPACE,
        MarkKind.PROBE,
    ]


def test_a_line_without_end_is_looked_at_when_the_guest_has_ended() -> None:
    watch = ConsoleWatch()
    assert watch.feed(b"[    1.000000] reboot: System halted") == ()
    assert [mark.kind for mark in watch.end()] == [MarkKind.HALT]
    assert watch.end() == ()


def test_text_that_is_no_utf_8_is_told_with_replacements() -> None:
    (mark,) = ConsoleWatch().feed(b"[    1.000000] Kernel panic - not syncing: \xff\xfe!\n")
    assert mark.text == "Kernel panic - not syncing: \ufffd\ufffd!"


def test_a_line_that_never_ends_is_not_held() -> None:
    watch = ConsoleWatch()
    for _ in range(50):
        assert watch.feed(b"a" * 100_000) == ()
    assert len(watch._line) <= 4096
    assert watch.feed(b"\n[    1.000000] reboot: Power down\n") == MARKS[-1:]


@given(st.binary(max_size=300))
def test_nothing_that_a_guest_writes_is_an_error(data: bytes) -> None:
    watch = ConsoleWatch()
    watch.feed(data)
    watch.end()


def test_a_real_kernel_without_root_file_system_panics_and_stays(corpus: RealFiles, tool: Tool) -> None:
    image = corpus.file("cloud", "boot/vmlinuz-*")
    words = ("-machine", "microvm", "-m", "256", "-serial", "chardev:serial", "-kernel", str(image))
    cmdline = ("-append", "console=ttyS0 panic=0 tsc_early_khz=2000000")
    watch = ConsoleWatch()
    marks: list[ConsoleMark] = []
    with started_qemu(tool("qemu-system-x86_64"), *words, *cmdline, chardevs=("serial",)) as qemu:
        serial = qemu.ends["serial"]
        serial.settimeout(60)
        while not any(mark.kind is MarkKind.PANIC_STAYS for mark in marks):
            marks += watch.feed(serial.recv(4096))
    assert [mark.kind for mark in marks] == [MarkKind.KERNEL, MarkKind.PANIC, MarkKind.PANIC_STAYS]
    assert marks[1].text.startswith("Kernel panic - not syncing: VFS: Unable to mount root fs")


XEN = b"(XEN) Xen version 4.17.7 (Debian 4.17.7+13) (gcc) debug=n Wed Nov  4 16:52:28 UTC 2026\r\n"
XEN_PANICS = (
    b"(XEN) ****************************************\r\n"
    b"(XEN) Panic on CPU 0:\r\n"
    b"(XEN) Could not construct domain 0\r\n"
    b"(XEN) ****************************************\r\n"
)


def test_a_panic_of_xen_is_told_with_its_reason_between_its_dom0s_lines() -> None:
    watch = ConsoleWatch()
    marks = watch.feed(XEN + BOOT + XEN_PANICS)
    assert marks == (*MARKS, ConsoleMark(MarkKind.PANIC, "Xen panics: Could not construct domain 0"))
    stays = b"(XEN) Manual reset required ('noreboot' specified)\r\n"
    assert [mark.kind for mark in watch.feed(stays)] == [MarkKind.PANIC_STAYS]


def test_where_no_xen_has_begun_nobody_speaks_for_it() -> None:
    assert kinds(BOOT, XEN_PANICS) == [mark.kind for mark in MARKS]
