# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands of a test run in the guest, with programs of Debian packages, and say what came of them."""

from __future__ import annotations

from pvefi.probe.facts import CommandFacts
from tests.qemu_boots.conftest import Boots
from tests.qemu_boots.test_entries import ends_well


def test_commands_run_in_their_order_with_programs_and_files(boots: Boots) -> None:
    script = {
        "say": r"printf 'a line\n\377'; echo to stderr >&2; exit 3",
        "own-file": "cat /given/file | tr a-z A-Z",
        "a-shell-of-its-own": "echo ${left:-nothing}; left=something; ls $efivars | wc -l",
        "dynamic-program": "efivar --help",
        "no-such-program": "no-such-program",
    }
    facts = ends_well(
        boots("cloud", "script", programs=("efivar",), script=script, files={"given/file": b"given"})
    )
    assert list(facts.script) == list(script)
    assert facts.script["say"] == CommandFacts(3, b"a line\n\xff", b"to stderr\n")
    assert facts.script["own-file"] == CommandFacts(0, b"GIVEN", b"")
    nothing, count = facts.script["a-shell-of-its-own"].output.split()
    assert nothing == b"nothing"
    assert int(count) > 0
    assert b"Usage: efivar " in facts.script["dynamic-program"].output
    assert facts.script["dynamic-program"].status == 0
    assert facts.script["no-such-program"].status == 127
