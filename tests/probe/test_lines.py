# SPDX-License-Identifier: GPL-2.0-or-later
"""The probe's lines are found in any console text, and damage is noticed."""

from __future__ import annotations

import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvefi.probe.lines import probe_boots


def line(**fields: object) -> bytes:
    body = json.dumps(fields).encode()
    return b"PVEFI-PROBE fact %08x %s\r\n" % (zlib.crc32(body), body)


BOOT = b"PVEFI-PROBE up\r\nPVEFI-PROBE clock 0.61\r\n" + line(fact="efi", present=True)
KERNEL = b"[    1.234567] random: crng init done\r\n"


def test_lines_are_found_between_kernel_messages() -> None:
    text = b"SeaBIOS\r\n" + KERNEL + BOOT.replace(b"\r\n", b"\r\n" + KERNEL) + b"PVEFI-PROBE end hold\r\n"
    (boot,) = probe_boots(text)
    assert (boot.clock, boot.end, boot.damaged) == (0.61, "hold", 0)
    assert boot.facts == {"efi": {"fact": "efi", "present": True}}


def test_a_line_may_begin_after_a_message_without_an_end() -> None:
    (boot,) = probe_boots(BOOT.replace(b"PVEFI-PROBE fact", b"[    1.2] unfinishedPVEFI-PROBE fact"))
    assert boot.facts["efi"]["present"] is True


@pytest.mark.parametrize("at", [20, 32, 45])
def test_a_message_within_a_fact_is_noticed(at: int) -> None:
    fact = line(fact="efi", present=True)
    (boot,) = probe_boots(b"PVEFI-PROBE up\r\n" + fact[:at] + KERNEL + fact[at:])
    assert (boot.damaged, boot.facts) == (1, {})


def test_every_start_of_a_guest_that_restarts_is_one_boot() -> None:
    boots = probe_boots((BOOT + b"PVEFI-PROBE end reboot\r\n") * 3 + BOOT)
    assert [boot.end for boot in boots] == ["reboot", "reboot", "reboot", None]


def test_the_command_line_that_asks_for_words_is_no_line_of_the_probe() -> None:
    assert probe_boots(b"Kernel command line: console=ttyS0 probe=facts\r\n" + KERNEL) == ()


def test_a_sum_that_fits_nonsense_makes_no_fact() -> None:
    bodies = (b"[1]", b"{}", b'{"fact":1}', b"{", b"[" * 100_000)
    text = b"".join(b"PVEFI-PROBE fact %08x %s\n" % (zlib.crc32(body), body) for body in bodies)
    (boot,) = probe_boots(b"PVEFI-PROBE up\n" + text)
    assert (boot.damaged, boot.facts) == (len(bodies), {})


@given(st.binary())
def test_no_console_text_is_an_error(noise: bytes) -> None:
    assert len(probe_boots(noise + b"\n" + BOOT + noise)) >= 1
