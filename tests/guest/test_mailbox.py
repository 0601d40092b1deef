# SPDX-License-Identifier: GPL-2.0-or-later
"""The mailbox: one structure in two languages, and what the host writes when."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest

from pvefi.guest import load_trampoline
from pvefi.guest.mailbox import (
    DOORBELL_PORT,
    STAGING_SIZE,
    Action,
    Answer,
    Commit,
    Copy,
    Finish,
    Function,
    Mailbox,
    MailboxLayout,
    Reset,
    Return,
    Store,
    Unwind,
    Upcall,
    staged_size,
)

SYMBOLS = load_trampoline().symbols


def page(**words: int) -> bytearray:
    made = bytearray(4096)
    for name, value in words.items():
        at = MailboxLayout.offset_of(name)
        made[at : at + 8] = value.to_bytes(8, "little")
    return made


def read(made: bytearray) -> MailboxLayout:
    return MailboxLayout.unpack(made)


def test_guest_and_host_declare_the_same_mailbox() -> None:
    guest = {
        name.removeprefix("MAILBOX_").lower(): value
        for name, value in SYMBOLS.items()
        if name.startswith("MAILBOX_")
    }
    host = {field.name: MailboxLayout.offset_of(field.name) for field in fields(MailboxLayout)}
    assert guest == host


@pytest.mark.parametrize(("prefix", "enumeration"), [("FUNCTION", Function), ("ACTION", Action)])
def test_guest_and_host_declare_the_same_numbers(
    prefix: str, enumeration: type[Function] | type[Action]
) -> None:
    guest = {
        name.removeprefix(f"{prefix}_"): value
        for name, value in SYMBOLS.items()
        if re.fullmatch(rf"{prefix}_\w+", name)
    }
    assert guest == {member.name: member.value for member in enumeration}


def test_guest_and_host_ring_the_same_port() -> None:
    assert SYMBOLS["DOORBELL"] == DOORBELL_PORT


def test_the_functions_of_the_trampoline_lie_above_all_gates() -> None:
    assert SYMBOLS["GATE_COUNT"] <= min(Function)


def test_the_mailbox_fits_in_its_page() -> None:
    assert SYMBOLS["mailbox"] + MailboxLayout.SIZE <= SYMBOLS["runtime_arena"]


def test_a_request_is_a_copy_of_the_words() -> None:
    made = page(
        seq=9, done=8, function=0xFFFF_FFFF_0000_0007, rcx=1, rdx=2, r8=3, r9=4, rsp=5, cr3=6, cr4=7, frame=8
    )
    request = Mailbox(memoryview(made)).request()
    made[:] = bytes(4096)
    assert (request.seq, request.done, request.function) == (9, 8, 7)  # the guest writes 32 bits of function
    assert (request.rcx, request.rdx, request.r8, request.r9) == (1, 2, 3, 4)
    assert (request.rsp, request.cr3, request.cr4, request.frame) == (5, 6, 7, 8)


ANSWERS: list[tuple[Answer, dict[str, int]]] = [
    (Return(1 << 63 | 5), {"action": Action.RETURN, "result": 1 << 63 | 5}),
    (
        Upcall(0x1000, (1, 2, 3, 4), tag=99),
        {"action": Action.UPCALL, "a0": 0x1000, "a1": 1, "a2": 2, "a3": 3, "a4": 4},
    ),
    (Copy(0x2000, 0x3000, 16), {"action": Action.COPY, "a0": 0x2000, "a1": 0x3000, "a2": 16}),
    (Unwind(0x4000, 7), {"action": Action.UNWIND, "a0": 0x4000, "a1": 7}),
]


@pytest.mark.parametrize(("answer", "words"), ANSWERS, ids=lambda value: type(value).__name__)
def test_an_answer_is_words_and_then_done(answer: Answer, words: dict[str, int]) -> None:
    assert not isinstance(answer, Finish | Reset)
    made = page(seq=3)
    mailbox = Mailbox(memoryview(made))
    mailbox.request()
    mailbox.publish(answer)
    found = read(made)
    assert {name: getattr(found, name) for name in words} == words
    assert found.done == 3


def test_a_late_answer_is_not_that_of_a_call_rung_since() -> None:
    made = page(seq=3)
    mailbox = Mailbox(memoryview(made))
    mailbox.request()
    made[:8] = (4).to_bytes(8, "little")  # the guest gave up and rang again
    mailbox.publish(Return(0))
    assert read(made).done == 3


def test_the_hypervisor_is_told_by_its_leaf_and_signature() -> None:
    made = page(cpuid_base=0x4000_0100)
    at = MailboxLayout.offset_of("signature")
    made[at : at + 16] = b"XenVMMXenVMM" + (0x0004_0011).to_bytes(4, "little")
    assert Mailbox(memoryview(made)).hypervisor() == (0x4000_0100, b"XenVMMXenVMM", 0x0004_0011)


def test_the_bound_of_waits_is_the_guest_s_to_read() -> None:
    made = page()
    Mailbox(memoryview(made)).bound_waits(12345)
    assert read(made).bound == 12345


def test_a_released_mailbox_lets_go_of_the_page() -> None:
    made = page()
    view = memoryview(made)
    Mailbox(view).release()
    view.release()
    made.clear()  # BufferError while anything still looks at it


# ---------------------------------------------------------------- the staging area

STAGING = SYMBOLS["staging"] - SYMBOLS["mailbox"]


def staged(*stores: Store, value: int | None = 0) -> tuple[MailboxLayout, bytes]:
    """Return the words and the staging area after a Commit of `stores`."""
    made = bytearray(STAGING + STAGING_SIZE)
    mailbox = Mailbox(memoryview(made))
    mailbox.request()
    mailbox.publish(Commit(stores, value))
    return MailboxLayout.unpack(made), bytes(made[STAGING:])


def test_guest_and_host_agree_where_the_staging_area_is() -> None:
    assert SYMBOLS["staging_end"] - SYMBOLS["staging"] == STAGING_SIZE
    assert SYMBOLS["STAGING"] == STAGING


@pytest.mark.parametrize(
    ("length", "size"), [(0, 0x10), (1, 0x18), (7, 0x18), (8, 0x18), (9, 0x20), (4096, 0x1010)]
)
def test_a_record_takes_its_head_and_whole_words(length: int, size: int) -> None:
    assert staged_size(Store(0, bytes(length))) == size


def test_records_stand_one_after_the_other_at_whole_words() -> None:
    words, area = staged(Store(0xFFFF_8000_0000_1001, b"abc"), Store(5, b""), Store(6, b"12345678"), value=9)
    assert (words.action, words.a0, words.a1, words.result) == (Action.COMMIT, 3, 0, 9)
    assert area[:24] == (0xFFFF_8000_0000_1001).to_bytes(8, "little") + (3).to_bytes(
        8, "little"
    ) + b"abc" + bytes(5)
    assert area[24:40] == (5).to_bytes(8, "little") + bytes(8)
    assert area[40:64] == (6).to_bytes(8, "little") + (8).to_bytes(8, "little") + b"12345678"


def test_without_a_value_the_guest_is_to_ring() -> None:
    words, _ = staged(Store(1, b"a"), value=None)
    assert (words.a0, words.a1) == (1, 1)


def test_what_does_not_fit_is_refused_and_leaves_no_answer() -> None:
    largest = STAGING_SIZE - staged_size(Store(0, b""))
    _, area = staged(Store(1, b"x" * largest))
    assert area.endswith(b"x")
    for stores in ((), (Store(1, bytes(largest + 1)),), (Store(1, bytes(largest)), Store(2, b""))):
        made = bytearray(STAGING + STAGING_SIZE)
        mailbox = Mailbox(memoryview(made))
        made[:8] = (5).to_bytes(8, "little")
        mailbox.request()
        with pytest.raises(ValueError, match="do not fit"):
            mailbox.publish(Commit(stores, 0))
        assert MailboxLayout.unpack(made).done == 0
