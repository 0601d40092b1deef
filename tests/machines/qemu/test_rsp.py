# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvefi.errors import MachineError
from pvefi.machines.qemu.rsp import PacketReader, packet

# The examples are those of the GDB manual, "Remote Protocol", "Overview".


def test_a_packet_ends_with_the_sum_of_its_payload() -> None:
    assert packet("g") == b"$g#67"
    assert packet("") == b"$#00"


@given(st.lists(st.text("abcdefgh0123456789:,;", max_size=30)), st.integers(1, 7))
def test_packets_are_found_wherever_the_stream_is_cut(payloads: list[str], size: int) -> None:
    stream = b"+".join(packet(payload) for payload in payloads)
    reader, found = PacketReader(), []
    for at in range(0, len(stream), size):
        found += reader.feed(stream[at : at + size])
    assert found == [payload.encode() for payload in payloads]


def test_acknowledgements_are_no_packets() -> None:
    assert PacketReader().feed(b"++-+$OK#9a+") == [b"OK"]


@pytest.mark.parametrize(
    ("raw", "plain"),
    [(b"0* ", b"0000"), (b"a}\x03b", b"a#b"), (b"}]", b"}"), (b"x*\x1d", b"x"), (b"a}", b"a\x20")],
    ids=["repeated", "escaped", "escaped escape", "repeated no times", "escape at the end"],
)
def test_escapes_and_repeat_counts_are_undone(raw: bytes, plain: bytes) -> None:
    assert PacketReader().feed(b"$%b#%02x" % (raw, sum(raw) & 0xFF)) == [plain]


def test_a_wrong_checksum_is_a_machine_error() -> None:
    with pytest.raises(MachineError, match="checksum 9a, found 9b"):
        PacketReader().feed(b"$OK#9b")


def test_a_packet_without_end_is_not_held_for_ever() -> None:
    with pytest.raises(MachineError, match="more than"):
        PacketReader().feed(b"$" + b"a" * (2 << 20))
