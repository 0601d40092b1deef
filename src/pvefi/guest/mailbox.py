# SPDX-License-Identifier: GPL-2.0-or-later
"""The page in which a call and its answer travel between a gate and the host.

The structure is pvefi's own; `trampoline.S` is its other half. A machine takes a Request out after a doorbell
and publishes an Answer: all words first, `done` last and as one native 8-byte store, because the guest on
another CPU acts the moment it sees its own `seq` there.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, NamedTuple

from pvefi.layout import U32, U64, Bytes, OpenEnum, Structure, layout

__all__ = [
    "DOORBELL_PORT",
    "STAGING_SIZE",
    "Action",
    "Answer",
    "Commit",
    "Copy",
    "Enter",
    "Fill",
    "Finish",
    "Function",
    "Mailbox",
    "MailboxLayout",
    "Reply",
    "Request",
    "Reset",
    "Return",
    "Store",
    "Unwind",
    "Upcall",
    "staged_size",
]

DOORBELL_PORT = 0x520
"""I/O port of the doorbell: free on q35, pc, microvm and on Xen's PVH platform."""


class Function(OpenEnum):
    """What a doorbell asks for beyond the gates, whose indices lie below 0x1000."""

    BOOT = 0x1000
    UPCALL_RETURN = 0x1001
    DONE = 0x1002
    END = 0x1003
    EXCEPTION = 0x1004


class Action(IntEnum):
    """What the guest does when it sees the answer."""

    RETURN = 0
    UPCALL = 1
    COPY = 2
    UNWIND = 3
    ENTER = 4
    FILL = 5
    COMMIT = 6


STAGING_OFFSET = 0x6000
"""Bytes from the mailbox to the staging area."""
STAGING_SIZE = 0x6000
"""Bytes of the staging area, in which records wait for the guest to store them."""


@layout(size=0x10)
class StagingRecord(Structure):
    """The head of a record: `length` bytes follow, which go to `target` (an address of the caller's).

    The next record begins at the next multiple of 8 bytes.
    """

    target: U64
    length: U64


@layout(size=0xF8)
class MailboxLayout(Structure):
    """The mailbox's words; trampoline.S explains each beside its MAILBOX_ symbol."""

    seq: U64
    done: U64
    function: U64
    rcx: U64
    rdx: U64
    r8: U64
    r9: U64
    rsp: U64
    cr3: U64
    cr4: U64
    tsc_in: U64
    tsc_out: U64
    action: U64
    result: U64
    a0: U64
    a1: U64
    a2: U64
    a3: U64
    a4: U64
    bound: U64
    timeouts: U64
    dead: U64
    tsc_start: U64
    frame: U64
    lock: U64
    cpuid_base: U64
    signature: Annotated[bytes, Bytes(12)]
    hypervisor_version: U32
    blocking: U64
    abandon: U64
    la57: U64


class Request(NamedTuple):
    """The words of one doorbell, copied out before anything else can ring; `done` is the answer before."""

    seq: int
    function: int
    rcx: int
    rdx: int
    r8: int
    r9: int
    rsp: int
    cr3: int
    cr4: int
    frame: int
    done: int = 0


@dataclass(frozen=True, slots=True)
class Return:
    """Give `value` back to the gate's caller in %rax."""

    value: int


@dataclass(frozen=True, slots=True)
class Upcall:
    """Call the guest function at `function` (guest virtual) with up to four arguments.

    `tag` is the host's own name for the upcall, by which Exit() finds the frame that it unwinds to.
    """

    function: int
    arguments: tuple[int, ...] = ()
    tag: int = 0


@dataclass(frozen=True, slots=True)
class Copy:
    """Let the guest copy `size` bytes from `source` to `target` (guest virtual), which may overlap."""

    target: int
    source: int
    size: int


@dataclass(frozen=True, slots=True)
class Fill:
    """Let the guest set `size` bytes at `target` (guest virtual) to `value`, 0 to 255."""

    target: int
    value: int
    size: int


@dataclass(frozen=True, slots=True)
class Store:
    """Bytes that the guest is to store at `target`, an address of its caller's (guest virtual)."""

    target: int
    data: bytes


def staged_size(store: Store) -> int:
    """Return how many bytes of the staging area `store` takes."""
    return StagingRecord.SIZE + (len(store.data) + 7 & ~7)


@dataclass(frozen=True, slots=True)
class Commit:
    """Let the guest store all of `stores`, then return `value` in %rax; with None, ring DONE instead.

    What the host wants in memory that is no longer its own goes this way: a guest that has given up waiting
    does not look at the answer any more, so nothing is stored behind its back. ValueError of `publish` when
    the stores do not fit into the staging area.
    """

    stores: tuple[Store, ...]
    value: int | None


@dataclass(frozen=True, slots=True)
class Unwind:
    """Leave the upcall whose frame is at `frame`, as if its function had returned `value`."""

    frame: int
    value: int


@dataclass(frozen=True, slots=True)
class Enter:
    """Take the EntryState at guest physical `state` and never come back; `enter` is the trampoline's part.

    `tag` is the host's own name for what is entered, as an Upcall's is.
    """

    state: int
    enter: int
    tag: int = 0


@dataclass(frozen=True, slots=True)
class Finish:
    """Do not answer: the run ends here. `reason` is the host's and opaque to machines."""

    reason: object


@dataclass(frozen=True, slots=True)
class Reset:
    """Do not answer: the machine starts anew, and BOOT rings again.

    Where a machine cannot, or was asked not to, this is a Finish with `reason`.
    """

    reason: object


Reply = Return | Upcall | Copy | Fill | Commit | Unwind | Enter
"""What a guest can be told in its mailbox."""
Answer = Reply | Finish | Reset


def _word(name: str) -> int:
    return MailboxLayout.offset_of(name) // 8


_FUNCTION, _ACTION, _A0 = _word("function"), _word("action"), _word("a0")
_SEQ, _DONE, _FRAME, _RESULT, _BOUND = (_word(name) for name in ("seq", "done", "frame", "result", "bound"))
_DEAD, _ABANDON = _word("dead"), _word("abandon")
_TSC_START, _TSC_IN, _TSC_OUT = _word("tsc_start"), _word("tsc_in"), _word("tsc_out")


class Mailbox:
    """The host's view of a mailbox; `memory` is the guest's own, up to the end of the staging area."""

    def __init__(self, memory: memoryview) -> None:
        octets = memory.cast("B")
        self._words = octets[: MailboxLayout.SIZE].cast("Q")
        self._staging = octets[STAGING_OFFSET : STAGING_OFFSET + STAGING_SIZE]
        self._taken = 0

    def request(self) -> Request:
        """Return the words of the call that was just rung."""
        words = self._words
        self._taken = words[_SEQ]
        rcx, rdx, r8, r9, rsp, cr3, cr4 = words[_FUNCTION + 1 : _FUNCTION + 8]
        function = words[_FUNCTION] & 0xFFFFFFFF
        return Request(self._taken, function, rcx, rdx, r8, r9, rsp, cr3, cr4, words[_FRAME], words[_DONE])

    def publish(self, answer: Reply) -> None:
        """Write `answer` and then, as the last store, `done`: the seq of the call that was taken last.

        An answer that comes too late must not be seen as that of a call rung since.
        """
        words = self._words
        match answer:
            case Return(value):
                words[_ACTION] = Action.RETURN
                words[_RESULT] = value
            case Upcall(function, arguments):
                words[_ACTION] = Action.UPCALL
                words[_A0] = function
                for index, argument in enumerate(arguments, start=_A0 + 1):
                    words[index] = argument
            case Copy(target, source, size):
                words[_ACTION] = Action.COPY
                words[_A0], words[_A0 + 1], words[_A0 + 2] = target, source, size
            case Fill(target, value, size):
                words[_ACTION] = Action.FILL
                words[_A0], words[_A0 + 1], words[_A0 + 2] = target, value, size
            case Commit(stores, result):
                words[_ACTION] = Action.COMMIT
                words[_RESULT] = result or 0
                words[_A0], words[_A0 + 1] = self._stage(stores), result is None
            case Unwind(frame, value):
                words[_ACTION] = Action.UNWIND
                words[_A0], words[_A0 + 1] = frame, value
            case Enter(state, enter):
                words[_ACTION] = Action.ENTER
                words[_A0], words[_A0 + 1] = state, enter
        words[_DONE] = self._taken

    def _stage(self, stores: tuple[Store, ...]) -> int:
        """Write the records of `stores` and return how many there are."""
        if not stores or sum(map(staged_size, stores)) > len(self._staging):
            raise ValueError(f"{len(stores)} stores do not fit into {len(self._staging):#x} bytes")
        at = 0
        for store in stores:
            head = StagingRecord(store.target, len(store.data)).pack()
            self._staging[at : at + len(head) + len(store.data)] = head + store.data
            at += staged_size(store)
        return len(stores)

    def calls(self) -> tuple[int, int]:
        """Return `seq` and `done`: the call rung last, and the one answered last."""
        return int(self._words[_SEQ]), int(self._words[_DONE])

    @property
    def given_up(self) -> int:
        """The seq whose answer the guest did not wait for any longer, 0 when there is none."""
        return int(self._words[_DEAD])

    def times(self) -> tuple[int, int]:
        """Return the guest's time-stamp counter at the trampoline's first instruction and at the doorbell."""
        return int(self._words[_TSC_START]), int(self._words[_TSC_IN])

    def saw_answer(self) -> int:
        """Return the guest's time-stamp counter when it last saw its call answered."""
        return int(self._words[_TSC_OUT])

    def hypervisor(self) -> tuple[int, bytes, int]:
        """Return the hypervisor's first CPUID leaf, its 12-byte signature, and eax of the leaf after it.

        Zeroes where there is none.
        """
        page = MailboxLayout.unpack(self._words.cast("B"))
        return page.cpuid_base, page.signature, page.hypervisor_version

    def bound_waits(self, ticks: int) -> None:
        """Let the guest wait at most `ticks` of its time-stamp counter for an answer; 0 waits without end."""
        self._words[_BOUND] = ticks

    @property
    def goes_on_alone(self) -> bool:
        """Whether a guest whose calls are not answered any more goes on: it has left boot services."""
        return self._words[_SEQ] > 0 and self._words[_ABANDON] == 0

    def hang_up(self) -> None:
        """Tell the guest that nobody will answer any more, so that it does not wait for that."""
        self._words[_DEAD] = self._words[_SEQ]

    def release(self) -> None:
        """Let go of the guest's memory."""
        self._words.release()
        self._staging.release()
