# SPDX-License-Identifier: GPL-2.0-or-later
"""tools/xen_demo.py: what of the consoles it shows, how it ends, and that it sees what did not happen."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

import xen_demo
from pvefi.efi.varstore.edk2 import empty_store
from pvefi.spec.edk2.ovmf import OVMF_4M
from pvefi.verdict import Outcome, Verdict
from xen_demo import main, shown


def _shown(*lines: str) -> list[str]:
    return [text for line in lines for text in shown(line)]


def test_of_the_consoles_only_what_tells_of_efi_and_xen_is_shown() -> None:
    assert _shown(
        "Xen 4.17.7 (c/s ) EFI loader",
        "(XEN) Xen version 4.17.7 (Debian 4.17.7+13) (pkg-xen@example) (gcc) debug=n",
        "(XEN) Enabling APIC mode.  Using 1 I/O APICs",
        "[    0.000000] Linux version 6.1.0-56-amd64 (debian-kernel@example) (gcc-12)",
        "[    9.191503] pnp: PnP ACPI: found 5 devices",
        "domU: [    0.000000] efi: EFI v2.100 by pvefi",
        "domU: powered off: the guest switched itself off",
    ) == [
        "   Xen 4.17.7 (c/s ) EFI loader",
        "   (XEN) Xen version 4.17.7 (Debian 4.17.7+13)",
        "\n2. Xen starts its dom0, which reaches EFI by hypercalls",
        "   [    0.000000] Linux version 6.1.0-56-amd64",
        "   [    0.000000] efi: EFI v2.100 by pvefi",
        "   powered off: the guest switched itself off",
    ]


def test_a_long_line_of_dom0_s_is_shown_whole() -> None:
    assert _shown(f"demo: {'x' * 500}") == [f"   {'x' * 500}"]


def test_the_answers_of_hypercalls_are_shown_field_by_field() -> None:
    before, to = [2026, 11, 28, 1, 42, 33, 0, 2047, 0], [2027, 6, 15, 12, 0, 0, 0, 2047, 0]
    time = {"before": before, "set": to, "after": to}
    told = {"vendor": "pvefi", "version": 0x20064, "time": time, "high_monotonic_count": 1}
    assert _shown(f"demo: {json.dumps(told)}") == [
        "   firmware         pvefi, revision 2.100",
        "   clock            2026-11-28 01:42:33, set to 2027-06-15 12:00:00, then 2027-06-15 12:00:00",
        "   monotonic count  its high half is 1",
    ]


def test_what_did_not_happen_is_told(tmp_path: Path) -> None:
    store = tmp_path / "vars.fd"
    store.write_bytes(empty_store(OVMF_4M))
    verdict = Verdict(Outcome.TIMED_OUT, "no end within 600 s")
    assert list(xen_demo.lacks(verdict, [], "", store)) == [
        "expected dom0 to switch the machine off, found: no end within 600 s",
        *(
            f"expected the variable {name} from dom0 in vars.fd, found none"
            for name in ("Boot0001", "BootOrder", "Timeout", "Demo")
        ),
        "expected dom0 to set the clock, found that it did not",
        "expected a domU in user space, found none",
    ]


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").touch()
    assert main(["--keep", str(tmp_path)]) == 1
    said = f"xen-demo: {tmp_path}: expected a new or empty folder, found something there (name another)\n"
    assert capsys.readouterr().err == said
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_disk_that_is_full_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/cache/initrd")

    monkeypatch.setattr(xen_demo, "dom0_image", refuse)
    assert main([]) == 1
    assert capsys.readouterr().err == "xen-demo: /cache/initrd: No space left on device\n"
