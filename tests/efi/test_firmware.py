# SPDX-License-Identifier: GPL-2.0-or-later
"""Doorbells and their answers: what a guest may ring when, and what becomes of the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvefi.efi.environment import Environment, LoadedImage, Phase
from pvefi.efi.errors import EfiError
from pvefi.efi.firmware import Firmware
from pvefi.efi.service import UINTN, EndRun, ExitImage, Handle, Out, Pointer, Service, Steps, service
from pvefi.efi.varstore.store import Variable
from pvefi.errors import GuestFault, UsageError
from pvefi.guest.mailbox import (
    STAGING_SIZE,
    Answer,
    Commit,
    Copy,
    Fill,
    Finish,
    Function,
    MailboxLayout,
    Request,
    Return,
    Store,
    Unwind,
    Upcall,
)
from pvefi.layout import Guid
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.events import EVT_SIGNAL_VIRTUAL_ADDRESS_CHANGE, EventType, TimerDelay, Tpl
from pvefi.spec.uefi.memory import (
    EFI_MEMORY_DESCRIPTOR_VERSION,
    AllocateType,
    MemoryAttribute,
    MemoryDescriptor,
    MemoryType,
)
from pvefi.spec.uefi.status import EfiStatus
from pvefi.spec.uefi.tables import BOOT_SERVICES_SLOTS, RUNTIME_SERVICES_SLOTS
from pvefi.spec.uefi.variables import VariableAttribute
from pvefi.trace.events import CallEvent
from pvefi.verdict import Outcome, Verdict
from tests.efi.boot.guest import SCRATCH, SIZE, FakeGuest

IMAGE, ENTRY, NOTIFY = 0x500000, 0x500100, 0x600000
WILD = 0xDEAD_BEEF_0000
VIRTUAL, OWN_PAGE = 0xFFFF_8880_0000_0000, SCRATCH + 0x8000


class Bell:
    """A guest's side of the doorbell: each ring is a request, as a gate makes it."""

    def __init__(self, profile: str = "linux", enter: Callable[..., Steps[Verdict]] | None = None) -> None:
        self.guest = FakeGuest(profile)
        self.calls: list[CallEvent] = []
        self.instructions: int | None = None
        self.firmware = Firmware(
            self._make,
            enter or self._enter,
            self.calls.append,
            lambda: self.instructions,
        )
        self.seq = 0
        self.frame = 0
        self.image = 0
        self.cr3 = self.guest.efi.trampoline.symbols["page_map_level4"]

    def _make(self, _start_info: int) -> Steps[tuple[Environment, int]]:
        yield from ()
        return self.guest.efi, 0

    def _enter(self, efi: Environment, _information: int) -> Steps[Verdict]:
        self.image = efi.handles.install(0, guids.LOADED_IMAGE_PROTOCOL, 0)
        efi.images[self.image] = LoadedImage(self.image, "test.efi", IMAGE, 0x1000, ENTRY)
        returned = yield Upcall(ENTRY, (self.image,), tag=self.image)
        return Verdict(Outcome.EXITED, "the image returned", EfiStatus(returned))

    @property
    def efi(self) -> Environment:
        return self.guest.efi

    def ring(self, function: int, *arguments: int, stack: int = SCRATCH, seq: int | None = None) -> Answer:
        self.seq = self.seq + 1 if seq is None else seq
        rcx, rdx, r8, r9 = (*arguments, 0, 0, 0, 0)[:4]
        return self.firmware.answer(
            Request(self.seq, function, rcx, rdx, r8, r9, stack, self.cr3, 0, self.frame, self.seq - 1)
        )

    def boot(self) -> Bell:
        assert isinstance(self.ring(Function.BOOT), Upcall)
        self.frame = 0x830000
        return self

    def call(self, name: str | Service[..., Any], *arguments: int, stack: int = SCRATCH) -> Answer:
        if isinstance(name, str):
            slots = BOOT_SERVICES_SLOTS if name in BOOT_SERVICES_SLOTS else RUNTIME_SERVICES_SLOTS
            table = (
                self.efi.tables.boot_services
                if name in BOOT_SERVICES_SLOTS
                else self.efi.tables.runtime_services
            )
            at = table + 24 + 8 * slots.index(name)
            gate = int.from_bytes(self.guest.memory.read(at, 8), "little")
        else:
            gate = self.efi.gates.address(name)
        symbols = self.efi.trampoline.symbols
        return self.ring((gate - symbols["gates"]) // symbols["GATE_SIZE"], *arguments, stack=stack)

    def returned(self, value: int = 0) -> Answer:
        return self.ring(Function.UPCALL_RETURN, value)


@pytest.fixture
def bell() -> Bell:
    return Bell().boot()


def verdict(answer: Answer) -> Verdict:
    assert isinstance(answer, Finish)
    assert isinstance(answer.reason, Verdict)
    return answer.reason


def refused(answer: Answer, *words: str) -> None:
    """Check that the run ends as a bad request, in words that name all of `words`."""
    found = verdict(answer)
    assert found.outcome is Outcome.BAD_REQUEST
    for word in words:
        assert word in found.message


# ---------------------------------------------------------------- the start and the end


def test_boot_is_answered_by_an_upcall_of_the_image() -> None:
    bell = Bell()
    answer = bell.ring(Function.BOOT)
    assert answer == Upcall(ENTRY, (bell.image,), tag=bell.image)


def test_the_image_s_return_is_its_verdict(bell: Bell) -> None:
    found = verdict(bell.returned(EfiStatus.NOT_FOUND))
    assert (found.outcome, found.status) == (Outcome.EXITED, EfiStatus.NOT_FOUND)


def test_a_guest_that_was_reset_boots_afresh(bell: Bell) -> None:
    bell.call("GetMemoryMap")
    bell.seq = 0
    bell.guest.efi = FakeGuest().efi
    assert isinstance(bell.ring(Function.BOOT), Upcall)
    bell.call("Stall", 0)
    assert [call.index for call in bell.calls] == [1, 2]
    assert bell.firmware.environment is bell.guest.efi


def test_the_environment_s_own_fault_is_a_verdict() -> None:
    bell = Bell()

    def broken(_start_info: int) -> Steps[tuple[Environment, int]]:
        yield from ()
        raise GuestFault("hvm_start_info begins with 0x0")

    bell.firmware = Firmware(broken, bell._enter, bell.calls.append, lambda: None)
    refused(bell.ring(Function.BOOT), "hvm_start_info begins with 0x0")


def test_what_the_user_got_wrong_is_not_the_guest_s_verdict() -> None:
    def enter(_efi: Environment, information: int) -> Steps[Verdict]:
        if not information:
            raise UsageError("too little memory")
        yield Upcall(0)
        return Verdict(Outcome.EXITED, "")

    with pytest.raises(UsageError, match="too little memory"):
        Bell(enter=enter).ring(Function.BOOT)


def test_instructions_are_counted_at_each_call() -> None:
    bell = Bell()
    bell.boot()
    bell.instructions = 5678
    bell.call("Stall", 0)
    assert bell.calls[0].instructions == 5678


# ---------------------------------------------------------------- a mailbox full of garbage


def test_a_service_before_boot_is_refused() -> None:
    refused(Bell().ring(0), "a doorbell for gate 0x0, which nobody was given")


@pytest.mark.parametrize("function", [399, 400, 0xFFF, 0x1004, 0xFFFF_FFFF])
def test_a_gate_that_nobody_was_given_is_refused(bell: Bell, function: int) -> None:
    refused(bell.ring(function), f"gate {function:#x}, which nobody was given")


@pytest.mark.parametrize("seq", [0, 1, 3, 1 << 63, (1 << 64) - 1])
def test_a_call_out_of_sequence_is_refused(bell: Bell, seq: int) -> None:
    refused(bell.ring(0, seq=seq), "the mailbox was overwritten", "expected call 2", f"{seq:#x}")


def test_a_doorbell_without_a_call_is_refused(bell: Bell) -> None:
    again = Request(1, Function.BOOT, 0, 0, 0, 0, SCRATCH, bell.cr3, 0, 0, done=1)
    refused(bell.firmware.answer(again), "a doorbell without a call", "0x1")


def test_boot_again_without_a_reset_is_refused(bell: Bell) -> None:
    refused(bell.ring(Function.BOOT), "BOOT as call 0x2")


def test_the_end_of_a_copy_that_was_never_asked_for_is_refused(bell: Bell) -> None:
    refused(bell.ring(Function.DONE), "DONE", "never asked")


def test_the_return_of_an_upcall_that_was_never_made_is_refused() -> None:
    bell = Bell()
    refused(bell.ring(Function.UPCALL_RETURN), "UPCALL_RETURN", "never asked")


def test_the_trampoline_s_end_before_the_image_s_is_refused(bell: Bell) -> None:
    refused(bell.ring(Function.END), "the trampoline ended before the image did")


@settings(max_examples=40)
@given(st.lists(st.tuples(*[st.integers(0, 0x1010), *[st.integers(0, (1 << 64) - 1)] * 5]), max_size=8))
def test_no_garbage_gets_past_the_firmware(rings: list[tuple[int, ...]]) -> None:
    bell = Bell().boot()
    for function, rcx, rdx, r8, r9, stack in rings:
        answer = bell.ring(function, rcx, rdx, r8, r9, stack=stack)
        if isinstance(answer, Finish):
            assert verdict(answer).message
            return


POINTERS = st.sampled_from([0, 1, SCRATCH, SCRATCH + 1, SIZE - 1, SIZE, WILD, (1 << 64) - 1, 1 << 63])
WORDS = POINTERS | st.integers(0, 32) | st.integers(0, (1 << 64) - 1)
SLOTS = [*BOOT_SERVICES_SLOTS, *RUNTIME_SERVICES_SLOTS]


@settings(max_examples=60)
@given(
    st.sampled_from(SLOTS),
    st.tuples(WORDS, WORDS, WORDS, WORDS),
    st.tuples(WORDS, WORDS, WORDS),
    st.binary(max_size=64),
)
def test_any_service_with_any_arguments_is_answered(
    name: str, arguments: tuple[int, ...], further: tuple[int, ...], data: bytes
) -> None:
    bell = Bell().boot()
    stack = SIZE - 0x1000
    bell.guest.memory.write(SCRATCH, data)
    bell.guest.memory.write(stack + 0x28, b"".join(word.to_bytes(8, "little") for word in further))
    bell.guest.time.ending = True  # nobody waits for Stall(2 ** 64)
    answer = bell.call(name, *arguments, stack=stack)
    for _ in range(100):
        if isinstance(answer, Return | Finish | Unwind):
            break
        answer = bell.ring(Function.DONE if isinstance(answer, Copy | Fill) else Function.UPCALL_RETURN)
    if isinstance(answer, Finish):
        assert verdict(answer).message
    (event,) = bell.calls
    assert event.service == name


# ---------------------------------------------------------------- services with wild pointers


def test_a_wild_pointer_ends_the_run_and_names_the_call(bell: Bell) -> None:
    refused(bell.call("CalculateCrc32", SCRATCH, 4, WILD), "call 1 CalculateCrc32: ", f"{WILD:#x}")
    (event,) = bell.calls
    assert (event.service, event.status, event.result) == ("CalculateCrc32", None, None)
    assert f"{WILD:#x}" in event.why
    assert dict(event.arguments)["Data"] == SCRATCH


def test_a_wild_string_ends_the_run_with_the_raw_arguments_in_the_trace(bell: Bell) -> None:
    refused(bell.call("GetVariable", WILD, SCRATCH, 0, SCRATCH), "call 1 GetVariable: ", f"{WILD:#x}")
    assert dict(bell.calls[0].arguments) == {
        "VariableName": WILD,
        "VendorGuid": SCRATCH,
        "Attributes": 0,
        "DataSize": SCRATCH,
    }


@pytest.mark.parametrize("stack", [0, SIZE - 0x28, SIZE - 0x2C, WILD, (1 << 64) - 8])
def test_a_wild_stack_is_met_only_by_a_fifth_argument(stack: int) -> None:
    bell = Bell().boot()
    if stack:
        refused(bell.call("CreateEvent", 0, 0, 0, 0, stack=stack), "call 1 CreateEvent: ")
    else:
        assert isinstance(bell.call("CreateEvent", 0, 0, 0, 0, stack=stack), Return)
    bell = Bell().boot()
    assert bell.call("Stall", 0, stack=stack) == Return(EfiStatus.SUCCESS)


def own_page_tables(bell: Bell, root: int) -> None:
    """Give the guest page tables at `root` that show one page, OWN_PAGE, at VIRTUAL."""
    tables = [root, *(SCRATCH + 0x1000 * level for level in (2, 3, 4))]
    bell.guest.memory.write(root, bytes(0x1000))
    for level, table in enumerate(tables):
        below = tables[level + 1] if level < 3 else OWN_PAGE
        index = VIRTUAL >> (39 - 9 * level) & 511
        bell.guest.memory.write(table + 8 * index, (below | 3).to_bytes(8, "little"))
    bell.cr3 = root


def test_pointers_are_virtual_once_the_guest_has_page_tables_of_its_own(bell: Bell) -> None:
    own_page_tables(bell, SCRATCH + 0x1000)
    bell.guest.memory.write(OWN_PAGE, b"123456789")
    assert bell.call("CalculateCrc32", VIRTUAL, 9, VIRTUAL + 0x10) == Return(0)
    assert bell.guest.memory.read(OWN_PAGE + 0x10, 4) == 0xCBF43926.to_bytes(4, "little")
    refused(bell.call("CalculateCrc32", SCRATCH, 9, VIRTUAL), f"at {SCRATCH:#x}")


# ---------------------------------------------------------------- bodies that need the guest's CPU


@service("Nested", "UEFI 2.10 §7.1")
def nested(efi: Environment, event: Handle, count: UINTN, result: Out[UINTN] | None) -> Steps[None]:
    """Call the guest as often as it likes, and store the sum of what came back."""
    total = 0
    for number in range(count):
        total += yield Upcall(NOTIFY, (event, number))
    if result is not None:
        result.set(total)


@service("Copying", "UEFI 2.10 §7.5.3")
def copying(efi: Environment) -> Steps[EfiStatus]:
    """Let the guest copy."""
    done = yield Copy(1, 2, 3)
    return EfiStatus.WARN_STALE_DATA if done == 0 else EfiStatus.SUCCESS


@service("Refusing", "UEFI 2.10 §7.1")
def refusing(efi: Environment) -> Steps[None]:
    """Refuse after an upcall."""
    yield Upcall(NOTIFY)
    raise EfiError(EfiStatus.ABORTED, "thought better of it")


@service("Wild", "UEFI 2.10 §7.1")
def wild(efi: Environment, result: Out[UINTN]) -> Steps[None]:
    """Store through a pointer after an upcall."""
    yield Upcall(NOTIFY)
    result.set(0)


@service("Size", "UEFI 2.10 §7.1", returns_status=False)
def size(efi: Environment, fails: UINTN) -> int:
    """Return a size, or fail."""
    if fails:
        raise EfiError(EfiStatus.NOT_FOUND, "no size")
    return 0x1234


@service("Leave", "UEFI 2.10 §7.4.5")
def leave(efi: Environment, handle: Handle) -> ExitImage:
    """Leave an image that need not exist."""
    return ExitImage(handle, EfiStatus.ABORTED)


@service("Stop", "UEFI 2.10 §8.5.1", returns_status=False)
def stop(efi: Environment) -> EndRun:
    """End the run."""
    return EndRun(Verdict(Outcome.HALTED, "the guest asked for it"))


def test_a_body_may_call_the_guest_several_times(bell: Bell) -> None:
    first = bell.call(nested, 7, 3, SCRATCH)
    assert first == Upcall(NOTIFY, (7, 0))
    assert bell.returned(10) == Upcall(NOTIFY, (7, 1))
    assert bell.returned(20) == Upcall(NOTIFY, (7, 2))
    assert not bell.calls
    assert bell.returned(30) == Return(0)
    assert bell.guest.words(SCRATCH, 1) == [60]
    (event,) = bell.calls
    assert event.outputs == (("Result", 60),)


def test_calls_within_upcalls_end_before_the_calls_around_them(bell: Bell) -> None:
    bell.call(nested, 1, 1)
    bell.call(nested, 2, 1)
    assert bell.call("Stall", 0) == Return(0)
    assert bell.returned() == Return(0)
    assert bell.returned() == Return(0)
    assert [(call.index, call.service, call.depth) for call in bell.calls] == [
        (3, "Stall", 3),
        (2, "Nested", 2),
        (1, "Nested", 1),
    ]


def test_a_copy_ends_by_a_doorbell_of_its_own(bell: Bell) -> None:
    assert bell.call(copying) == Copy(1, 2, 3)
    assert bell.ring(Function.DONE, 99) == Return(EfiStatus.WARN_STALE_DATA)


def test_an_upcall_s_return_is_not_the_end_of_a_copy(bell: Bell) -> None:
    bell.call(copying)
    refused(bell.returned(), "UPCALL_RETURN", "never asked")


def test_a_copy_s_end_is_not_an_upcall_s_return(bell: Bell) -> None:
    bell.call(nested, 1, 1)
    refused(bell.ring(Function.DONE), "DONE", "never asked")


def test_a_body_may_refuse_after_an_upcall(bell: Bell) -> None:
    bell.call(refusing)
    assert bell.returned() == Return(EfiStatus.ABORTED)
    assert bell.calls[0].why == "thought better of it"


def test_a_wild_pointer_after_an_upcall_names_its_call(bell: Bell) -> None:
    bell.call(wild, WILD)
    bell.call("Stall", 0)
    refused(bell.returned(), "call 1 Wild: ", f"{WILD:#x}")
    assert [call.service for call in bell.calls] == ["Stall", "Wild"]


def test_what_returns_no_status_fails_with_0(bell: Bell) -> None:
    assert bell.call(size, 0) == Return(0x1234)
    assert bell.call(size, 1) == Return(0)
    found = [(call.status, call.result, call.why) for call in bell.calls]
    assert found == [(None, 0x1234, ""), (None, 0, "no size")]


def test_a_body_may_end_the_run(bell: Bell) -> None:
    assert verdict(bell.call(stop)) == Verdict(Outcome.HALTED, "the guest asked for it")
    assert [call.service for call in bell.calls] == ["Stop"]


def test_the_time_of_a_call_leaves_out_what_the_guest_did_meanwhile(
    bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("pvefi.efi.firmware.time.perf_counter", lambda: now[0])

    @service("Timed", "UEFI 2.10 §7.1")
    def timed(efi: Environment) -> Steps[None]:
        now[0] += 0.001
        yield Upcall(NOTIFY)
        now[0] += 0.002

    bell.call(timed)
    now[0] += 5
    bell.returned()
    assert bell.calls[0].host_us == pytest.approx(3000)


# ---------------------------------------------------------------- Exit


def test_exit_unwinds_to_the_image_and_ends_it(bell: Bell) -> None:
    assert bell.call("Exit", bell.image, EfiStatus.ABORTED) == Unwind(0x830000, EfiStatus.ABORTED)
    found = verdict(bell.returned(EfiStatus.ABORTED))
    assert (found.outcome, found.status) == (Outcome.EXITED, EfiStatus.ABORTED)
    assert [call.service for call in bell.calls] == ["Exit"]


def test_exit_from_within_upcalls_leaves_them_all(bell: Bell) -> None:
    closed: list[int] = []

    def body(_efi: Environment) -> Steps[None]:
        def steps() -> Steps[None]:
            try:
                yield Upcall(NOTIFY)
            finally:
                closed.append(1)

        return steps()

    holding = Service("Holding", "UEFI 2.10 §7.1", body)
    bell.call("Stall", 0)  # the image's own frame is told
    for frame in (0x82F000, 0x82E000):
        bell.call(holding)
        bell.frame = frame
    assert bell.call("Exit", bell.image, 5) == Unwind(0x830000, 5)
    assert closed == [1, 1]
    assert verdict(bell.returned(5)).outcome is Outcome.EXITED


def test_exit_of_no_image_is_refused_and_the_image_goes_on(bell: Bell) -> None:
    assert bell.call("Exit", WILD, 0) == Return(EfiStatus.INVALID_PARAMETER)
    assert bell.call("Stall", 0) == Return(0)


def test_leaving_an_image_that_was_never_started_is_refused(bell: Bell) -> None:
    refused(bell.call(leave, 77), "image 0x4d", "not started")


def test_any_exit_status_survives(bell: Bell) -> None:
    bell.call("Exit", bell.image, 0x0123_4567_89AB_CDEF)
    found = verdict(bell.returned(0x0123_4567_89AB_CDEF))
    assert found.status == 0x0123_4567_89AB_CDEF


# ---------------------------------------------------------------- profiles and phases


@pytest.mark.parametrize(
    "name", ["RaiseTPL", "CreateEvent", "GetNextMonotonicCount", "SetVariable", "Reserved"]
)
def test_a_service_outside_the_profile_is_unsupported_and_says_so(name: str) -> None:
    bell = Bell("minimal").boot()
    answer = bell.call(name, WILD, WILD, WILD, WILD, stack=WILD)
    expected = 0 if name == "RaiseTPL" else EfiStatus.UNSUPPORTED
    assert answer == Return(expected)
    assert bell.calls[0].why == "outside the profile minimal"


def test_a_service_without_a_body_is_unsupported_and_says_so(bell: Bell) -> None:
    assert bell.call("ConnectController", 1, 2, 3, 4, stack=WILD) == Return(EfiStatus.UNSUPPORTED)
    (event,) = bell.calls
    assert (event.service, event.why) == ("ConnectController", "not implemented")


def exit_boot_services(bell: Bell) -> Answer:
    return bell.call("ExitBootServices", bell.image, bell.efi.pages.key)


def left(bell: Bell) -> Commit:
    """Return the answer with which boot services end: the guest itself stores that it may go on alone."""
    symbols = bell.efi.trampoline.symbols
    return Commit((Store(symbols["mailbox"] + MailboxLayout.offset_of("abandon"), bytes(8)),), 0)


def test_boot_services_end_but_the_slots_still_answer(bell: Bell) -> None:
    assert exit_boot_services(bell) == left(bell)
    assert bell.efi.phase is Phase.RUNTIME
    assert bell.call("AllocatePool", 2, 64, SCRATCH) == Return(EfiStatus.UNSUPPORTED)
    assert bell.calls[-1].why == "boot services have ended"


def test_functions_of_protocols_end_with_boot_services(bell: Bell) -> None:
    exit_boot_services(bell)
    assert bell.call(size, 0) == Return(0)
    assert bell.calls[-1].why == "boot services have ended"


def test_runtime_services_answer_on_after_boot_services(bell: Bell) -> None:
    exit_boot_services(bell)
    bell.guest.memory.write(SCRATCH, bytes(64))
    assert bell.call("GetVariable", SCRATCH, SCRATCH, 0, SCRATCH) == Return(EfiStatus.NOT_FOUND)
    told = bell.call("GetTime", SCRATCH, 0)
    assert isinstance(told, Commit)
    assert told.value == EfiStatus.SUCCESS
    assert [store.target for store in told.stores] == [SCRATCH]


def test_after_boot_services_the_host_stores_nothing_itself(bell: Bell) -> None:
    exit_boot_services(bell)
    bell.guest.memory.write(SCRATCH, bytes(64))
    bell.call("GetTime", SCRATCH, 0)
    assert bell.guest.memory.read(SCRATCH, 64) == bytes(64)


def test_after_boot_services_the_page_of_the_trampoline_s_root_table_is_the_guest_s(bell: Bell) -> None:
    # It lay in boot services memory: Linux may have the root of its own tables there.
    exit_boot_services(bell)
    own_page_tables(bell, bell.efi.trampoline.symbols["page_map_level4"])
    told = bell.call("GetTime", VIRTUAL, 0)
    assert isinstance(told, Commit)
    assert [store.target for store in told.stores] == [VIRTUAL]


def changing_addresses(bell: Bell) -> Answer:
    """Let the guest set its virtual addresses, and a runtime driver be notified of that."""
    code = bell.efi.pages.allocate(AllocateType.ANY_PAGES, MemoryType.RUNTIME_SERVICES_CODE, 1, 0)
    bell.efi.events.create(EVT_SIGNAL_VIRTUAL_ADDRESS_CHANGE, Tpl.NOTIFY, code, 7)
    exit_boot_services(bell)
    ranges = [one for one in bell.efi.final_memory_map if one.attribute & MemoryAttribute.RUNTIME]
    data = b"".join(replace(one, virtual_start=one.physical_start).pack() for one in ranges)
    bell.guest.memory.write(SCRATCH + 0x1000, data)
    size = MemoryDescriptor.SIZE
    return bell.call("SetVirtualAddressMap", len(data), size, EFI_MEMORY_DESCRIPTOR_VERSION, SCRATCH + 0x1000)


def test_whom_set_virtual_address_map_notifies_converts_pointers_within_it(bell: Bell) -> None:
    assert isinstance(changing_addresses(bell), Upcall)
    bell.guest.memory.write(SCRATCH, bell.efi.trampoline.symbols["mailbox"].to_bytes(8, "little"))
    assert isinstance(bell.call("ConvertPointer", 0, SCRATCH), Commit)
    assert bell.returned() == Return(EfiStatus.SUCCESS)
    assert [call.depth for call in bell.calls] == [1, 2, 1]


@pytest.mark.parametrize("other", ["page tables", "stack"])
def test_a_cpu_that_stops_within_what_set_virtual_address_map_notifies_ends_that_call(
    bell: Bell, other: str
) -> None:
    assert isinstance(changing_addresses(bell), Upcall)
    if other == "page tables":
        root = bell.efi.trampoline.symbols["page_map_level4"]
        bell.guest.memory.write(SCRATCH + 0x3000, bell.guest.memory.read(root, 0x1000))
        bell.cr3 = SCRATCH + 0x3000
    stack = bell.frame + 0x1000 if other == "stack" else SCRATCH
    assert bell.call("ConvertPointer", 0, SCRATCH, stack=stack) == Return(EfiStatus.UNSUPPORTED)
    assert bell.calls[-1].why == "SetVirtualAddressMap is not under way"
    assert bell.calls[-1].depth == 1


def test_a_cpu_that_stops_before_it_has_stored_everything_holds_up_nobody(bell: Bell) -> None:
    exit_boot_services(bell)
    vendor, name, size = guids.GLOBAL_VARIABLE, "Large", 3 * STAGING_SIZE // 2
    lasting = VariableAttribute.NON_VOLATILE | VariableAttribute.BOOTSERVICE_ACCESS
    attributes = lasting | VariableAttribute.RUNTIME_ACCESS
    bell.efi.surroundings.kept.variables.put(Variable(name, vendor, attributes, bytes(size)))
    asked = f"{name}\0".encode("utf-16-le").ljust(0x20, b"\0") + vendor.wire + size.to_bytes(8, "little")
    bell.guest.memory.write(SCRATCH, asked + bytes(8))
    at = [SCRATCH, SCRATCH + 0x20, 0, SCRATCH + 0x30]
    stack = SCRATCH + 0x100
    bell.guest.memory.write(stack + 0x28, (SCRATCH + 0x1000).to_bytes(8, "little"))
    first = bell.call("GetVariable", *at, stack=stack)
    assert isinstance(first, Commit)
    assert first.value is None  # more is to come, when the guest says that it has stored this
    assert isinstance(bell.call("GetTime", SCRATCH, 0), Commit)
    assert [call.depth for call in bell.calls[-2:]] == [1, 1]
    refused(bell.ring(Function.DONE), "the end of what the guest was never asked to do")


# ---------------------------------------------------------------- notify functions


def event(bell: Bell, tpl: int = Tpl.CALLBACK, kind: int = EventType.NOTIFY_SIGNAL, context: int = 5) -> int:
    return bell.efi.events.create(kind, tpl, NOTIFY, context)


def test_a_notify_function_runs_at_the_end_of_the_call_that_signals_it(bell: Bell) -> None:
    signalled = event(bell)
    assert bell.call("SignalEvent", signalled) == Upcall(NOTIFY, (signalled, 5))
    assert [call.service for call in bell.calls] == ["SignalEvent"]
    assert bell.efi.events.tpl == Tpl.CALLBACK
    assert bell.returned() == Return(EfiStatus.SUCCESS)
    assert bell.efi.events.tpl == Tpl.APPLICATION


def test_all_notify_functions_that_are_due_run_the_highest_level_first(bell: Bell) -> None:
    low, high = event(bell, Tpl.CALLBACK, context=1), event(bell, Tpl.NOTIFY, context=2)
    bell.call("RaiseTPL", Tpl.HIGH_LEVEL)
    bell.call("SignalEvent", low)
    assert bell.call("SignalEvent", high) == Return(0)
    assert bell.call("RestoreTPL", Tpl.APPLICATION) == Upcall(NOTIFY, (high, 2))
    assert bell.returned() == Upcall(NOTIFY, (low, 1))
    assert bell.returned() == Return(0)


def test_a_status_survives_the_notify_functions(bell: Bell) -> None:
    timer = bell.efi.events.create(EventType.TIMER | EventType.NOTIFY_SIGNAL, Tpl.CALLBACK, NOTIFY, 0)
    bell.efi.events.set_timer(timer, TimerDelay.RELATIVE, 10_000_000)
    bell.guest.time.now += 2
    assert isinstance(bell.call("FreePool", WILD), Upcall)
    assert bell.returned() == Return(EfiStatus.INVALID_PARAMETER)


def test_a_notify_function_may_call_services_and_be_interrupted_by_higher_ones(bell: Bell) -> None:
    outer, inner = event(bell, Tpl.CALLBACK, context=1), event(bell, Tpl.NOTIFY, context=2)
    bell.call("SignalEvent", outer)
    assert bell.call("SignalEvent", inner) == Upcall(NOTIFY, (inner, 2))
    assert bell.returned() == Return(0)
    assert bell.returned() == Return(0)


def test_exit_from_a_notify_function_lowers_the_level_again(bell: Bell) -> None:
    bell.call("Stall", 0)
    bell.call("SignalEvent", event(bell, Tpl.NOTIFY))
    bell.frame = 0x82F000
    assert bell.call("Exit", bell.image, 0) == Unwind(0x830000, 0)
    assert bell.efi.events.tpl == Tpl.APPLICATION


def test_no_notify_function_is_called_after_boot_services(bell: Bell) -> None:
    held = event(bell, Tpl.CALLBACK)
    timer = bell.efi.events.create(EventType.TIMER | EventType.NOTIFY_SIGNAL, Tpl.CALLBACK, NOTIFY, 0)
    bell.efi.events.set_timer(timer, TimerDelay.PERIODIC, 1)
    bell.call("RaiseTPL", Tpl.NOTIFY)
    bell.call("SignalEvent", held)
    bell.guest.time.now += 1
    assert exit_boot_services(bell) == left(bell)
    bell.efi.events.restore_tpl(Tpl.APPLICATION)
    assert isinstance(bell.call("SetWakeupTime", 0, 0), Return)


def test_notify_functions_of_exit_boot_services_run_before_it_ends(bell: Bell) -> None:
    group = guids.EVENT_GROUP_EXIT_BOOT_SERVICES
    leaving = bell.efi.events.create(EventType.NOTIFY_SIGNAL, Tpl.CALLBACK, NOTIFY, 9, group)
    assert exit_boot_services(bell) == Upcall(NOTIFY, (leaving, 9))
    before = bell.efi.phase
    assert bell.returned() == left(bell)
    assert (before, bell.efi.phase) == (Phase.BOOT, Phase.RUNTIME)


def test_a_fault_of_the_host_is_no_verdict(bell: Bell) -> None:
    def body(_efi: Environment, pointer: Pointer, guid: Guid | None) -> None:
        raise ZeroDivisionError

    body.__annotations__ |= {"pointer": Pointer, "guid": Guid | None}
    with pytest.raises(ZeroDivisionError):
        bell.call(Service("Broken", "UEFI 2.10 §7.1", body))
