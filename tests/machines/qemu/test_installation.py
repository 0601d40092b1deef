# SPDX-License-Identifier: GPL-2.0-or-later
"""Finding QEMU: the one on PATH, the one asked for, and the many that cannot be used."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pvefi.errors import MachineError
from pvefi.machines.qemu import installation
from pvefi.machines.qemu.installation import (
    OLDEST,
    Installation,
    Version,
    accelerators,
    data_files,
    find_qemu,
    machine_types,
    require_machine_type,
)
from tests.machines.qemu.made import fake_qemu, installed


def refusal(asked: str | None, seconds: float = 5) -> MachineError:
    with pytest.raises(MachineError) as caught:
        find_qemu(asked, seconds)
    return caught.value


def test_the_real_qemu_has_a_version_and_the_machines(qemu: Installation) -> None:
    assert qemu.version >= OLDEST
    assert qemu.version_text.startswith(f"{qemu.version.major}.{qemu.version.minor}")
    assert {"q35", "pc"} <= machine_types(qemu)
    assert "tcg" in accelerators(qemu)
    require_machine_type(qemu, "q35")


def test_the_one_on_path_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = fake_qemu(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert find_qemu() == Installation(program, Version(8, 2, 1), "8.2.1 (made)")


def test_the_one_asked_for_is_taken_by_path_or_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = fake_qemu(tmp_path).rename(tmp_path / "mine")
    assert find_qemu(str(program)).program == program
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert find_qemu("mine").program == program
    monkeypatch.chdir(tmp_path)
    assert find_qemu("./mine").program.samefile(program)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)", Version(7, 2, 22)),
        ("QEMU emulator version 10.0", Version(10, 0, 0)),
        ("QEMU emulator version 11.1.50 (v11.1.0-3-gabc-dirty)", Version(11, 1, 50)),
    ],
)
def test_versions_as_packagers_spell_them(tmp_path: Path, text: str, version: Version) -> None:
    assert find_qemu(str(fake_qemu(tmp_path, version=text))).version == version


@pytest.mark.parametrize(
    ("release", "command"),
    [
        ({"ID": "debian"}, "apt-get install qemu-system-x86"),
        ({"ID": "linuxmint", "ID_LIKE": "ubuntu debian"}, "apt-get install qemu-system-x86"),
        ({"ID": "fedora"}, "dnf install qemu-system-x86"),
        ({"ID": "rocky", "ID_LIKE": "rhel centos fedora"}, "dnf install qemu-kvm"),
        ({"ID": "own"}, "install QEMU"),
    ],
)
def test_none_at_all_says_what_to_install_on_this_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: dict[str, str], command: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(installation, "_NAMES", ("qemu-system-x86_64",))
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: release)
    error = refusal(None)
    assert error.message == "no QEMU found: no qemu-system-x86_64 on PATH"
    assert error.way_out == command


def test_a_host_without_os_release_has_a_way_out_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> dict[str, str]:
        raise OSError

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(installation, "_NAMES", ("qemu-system-x86_64",))
    monkeypatch.setattr("platform.freedesktop_os_release", none)
    assert refusal(None).way_out == "install QEMU"


def test_one_that_is_asked_for_and_not_there(tmp_path: Path) -> None:
    assert refusal(f"{tmp_path}/none").message == f"{tmp_path}/none: there is no such file"
    assert refusal("no-such-qemu").message == "no-such-qemu: there is no such program on PATH"
    assert "found a directory" in refusal(str(tmp_path)).message
    (tmp_path / "text").write_text("no program")
    assert "found a file that cannot be executed" in refusal(f"{tmp_path}/text").message


def test_a_program_that_is_no_qemu() -> None:
    error = refusal("/bin/echo")
    assert error.message.startswith("/bin/echo: expected a QEMU that tells its version, found echo (")
    assert error.way_out.startswith("leave out --qemu")


def test_one_that_is_too_old(tmp_path: Path) -> None:
    program = fake_qemu(tmp_path, version="QEMU emulator version 7.1.9")
    error = refusal(str(program))
    assert error.message == f"{program}: expected QEMU 7.2 or later, found 7.1.9"
    assert "--machine embedded" in error.way_out


def test_one_that_fails_to_load_says_what_it_said(tmp_path: Path) -> None:
    program = tmp_path / "qemu"
    program.write_text(
        "#!/bin/sh\necho 'qemu: error while loading shared libraries: libx.so' >&2\nexit 127\n"
    )
    program.chmod(0o755)
    assert refusal(str(program)).message.endswith("error while loading shared libraries: libx.so")


def test_one_that_hangs_is_given_up(tmp_path: Path) -> None:
    program = tmp_path / "qemu"
    program.write_text("#!/bin/sh\nsleep 60\n")
    program.chmod(0o755)
    started = time.monotonic()
    assert refusal(str(program), 0.2).message == f"{program} cannot be used: it did not end in time"
    assert time.monotonic() - started < 5


def test_one_that_crashes_names_the_signal(tmp_path: Path) -> None:
    program = tmp_path / "qemu"
    program.write_text("#!/bin/sh\nkill -ABRT $$\n")
    program.chmod(0o755)
    assert refusal(str(program)).message.endswith("it was ended by SIGABRT")


def test_machine_types_are_the_first_words(tmp_path: Path) -> None:
    body = "printf 'Supported machines are:\\nq35   Standard PC (alias of pc-q35-8.2)\\npc-q35-8.2  PC\\n'"
    qemu = installed(fake_qemu(tmp_path, body))
    assert machine_types(qemu) == {"q35", "pc-q35-8.2"}
    with pytest.raises(MachineError) as caught:
        require_machine_type(qemu, "microvm")
    assert str(caught.value) == f"{qemu.program} has no machine microvm (it has q35)"


def test_a_qemu_for_another_cpu_is_recognised(tmp_path: Path) -> None:
    qemu = installed(fake_qemu(tmp_path, "printf 'Supported machines are:\\nvirt  ARM\\n'"))
    with pytest.raises(MachineError, match=r"no machine q35 \(it is not a QEMU for x86-64\)"):
        require_machine_type(qemu, "q35")


def test_help_that_fails_is_a_machine_error(tmp_path: Path) -> None:
    qemu = installed(fake_qemu(tmp_path, "exit 4"))
    with pytest.raises(MachineError, match="-accel help failed: it ended with status 4"):
        accelerators(qemu)


def test_data_files_come_from_the_first_folder_that_has_them(tmp_path: Path) -> None:
    for name in ("a/qboot.rom", "b/qboot.rom", "b/bios.bin"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    qemu = installed(fake_qemu(tmp_path, f"printf '{tmp_path}/none\\n{tmp_path}/a\\n{tmp_path}/b\\n'"))
    assert data_files(qemu, ["qboot.rom", "bios.bin", "pvh.bin"]) == {
        "qboot.rom": tmp_path / "a/qboot.rom",
        "bios.bin": tmp_path / "b/bios.bin",
    }
