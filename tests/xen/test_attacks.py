# SPDX-License-Identifier: GPL-2.0-or-later
"""A program in a domU attacks its device model: that gets it a verdict, and harms neither dom0 nor Xen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.test_boot import (
    BEGIN,
    END,
    HANDLE,
    OUT_DOORBELL,
    SCRATCH,
    SYMBOLS,
    WILD,
    call,
    load,
    program,
    ring,
    store,
)
from tests.xen.boots import NATIVE, domains
from xen_jobs import Dom0

RCX, RSI, RDI = 1, 6, 7
TO_DOORBELL = OUT_DOORBELL[:-1]  # mov $0x520, %dx
REP_OUTSB, REP_INSB, IN_AL, IN_EAX = b"\xf3\x6e", b"\xf3\x6c", b"\xec", b"\xed"
HUGE = 1 << 62
RETURN_SUCCESS = load(0, 0) + END


def again_and_again(code: bytes, times: int) -> bytes:
    """Return a loop; `code` leaves %rdi alone."""
    body = code + b"\x48\xff\xcf"  # dec %rdi
    return load(RDI, times) + body + b"\x75" + bytes([256 - len(body) - 2])  # jnz


ATTACKS = {
    "doorbells without a call": (again_and_again(OUT_DOORBELL, 100_000), "without a call"),
    "doorbells by the page": (
        TO_DOORBELL + load(RSI, SCRATCH) + load(RCX, 0xFFFF_FFFF) + REP_OUTSB,
        "without a call",
    ),
    "a count that was overwritten": (
        store(SYMBOLS["mailbox"], 0xFFFF_FFFF_FFFF_FFF0) + ring(0),
        "mailbox was overwritten",
    ),
    "a gate that nobody was given": (ring(399), "which nobody was given"),
    "the end of what was never asked for": (ring(0x1002), "never asked to do"),
    "a wild pointer": (call("CalculateCrc32", WILD, 8, SCRATCH), "CalculateCrc32"),
    "a huge size": (call("CalculateCrc32", SCRATCH, HUGE, SCRATCH), "CalculateCrc32"),
    "a store into the mailbox": (call("CalculateCrc32", SCRATCH, 8, SYMBOLS["mailbox"] + 8), "pvefi's own"),
    "a store into the gates": (call("CalculateCrc32", SCRATCH, 8, SYMBOLS["gates"]), "pvefi's own"),
}
OFTEN = (
    "doorbells without a call",
    "doorbells by the page",
    "a count that was overwritten",
    "a wild pointer",
)
HARMLESS = (
    again_and_again(TO_DOORBELL + IN_AL + IN_EAX, 1000),  # reads of the doorbell
    TO_DOORBELL + load(RDI, SCRATCH) + load(RCX, 0x1000) + REP_INSB,
    call("ExitBootServices", HANDLE, HUGE),  # a map key that never was
    call("AllocatePages", 0, 2, HUGE, SCRATCH),  # more memory than there is
)


def outcome(dom0: Dom0, folder: Path, code: bytes) -> tuple[int, str, str]:
    """Return exit status, outcome and message of a program with this code."""
    image = folder / f"{hash(code):x}.efi"
    image.write_bytes(program(BEGIN + code + RETURN_SUCCESS))
    words = ("boot", "--machine", "xen", "--json", *NATIVE, "--memory", "64M", "--timeout", "120")
    end = dom0.pvefi(*words, dom0.give(image)).wait()
    assert end.stdout, end
    verdict = json.loads(end.stdout)["verdict"]
    return end.status, verdict["outcome"], verdict["message"]


@pytest.mark.parametrize(
    "name", [name if name in OFTEN else pytest.param(name, marks=pytest.mark.full) for name in ATTACKS]
)
def test_an_attack_is_a_bad_request_and_no_more(dom0: Dom0, tmp_path: Path, name: str) -> None:
    code, words = ATTACKS[name]
    status, found, message = outcome(dom0, tmp_path, code)
    assert (status, found) == (1, "bad request"), message
    assert words in message
    assert domains(dom0) == []


def test_what_only_costs_time_ends_as_the_program_does(dom0: Dom0, tmp_path: Path) -> None:
    status, found, message = outcome(dom0, tmp_path, b"".join(HARMLESS))
    assert (status, found) == (0, "exited"), message
    assert domains(dom0) == []
