# SPDX-License-Identifier: GPL-2.0-or-later
"""An environment outlives the process that serves it: what is saved, and what another process makes of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pvefi.efi.environment import Environment, LoadedImage
from pvefi.efi.firmware import Firmware
from pvefi.efi.heir import Heir
from pvefi.efi.profiles import PROFILES, Profile
from pvefi.efi.resume import SavedEfi, read_saved, resumed
from pvefi.efi.service import Service, Steps
from pvefi.efi.varstore.store import Variable
from pvefi.errors import UsageError
from pvefi.frozen_json import from_json, to_json
from pvefi.guest.mailbox import STAGING_SIZE, Answer, Commit, Enter, Function, Return, Unwind, Upcall
from pvefi.layout import Guid
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.events import EVT_SIGNAL_VIRTUAL_ADDRESS_CHANGE, Tpl
from pvefi.spec.uefi.memory import (
    EFI_MEMORY_DESCRIPTOR_VERSION,
    AllocateType,
    MemoryAttribute,
    MemoryDescriptor,
    MemoryType,
)
from pvefi.spec.uefi.status import EfiStatus
from pvefi.spec.uefi.variables import ACCESS, VariableAttribute
from pvefi.verdict import Outcome, Verdict
from tests.efi.boot.guest import SCRATCH, trampoline
from tests.efi.test_firmware import Bell, verdict

LASTING = VariableAttribute.NON_VOLATILE | ACCESS
NAME, VENDOR, NUMBER, DATA, STACK = (SCRATCH + at for at in (0, 0x100, 0x120, 0x1000, 0x8_0000))
OWNER = Guid.parse("210be57c-9849-4fc7-a635-e6382d1aec27")
SUCCESS, DEVICE_ERROR = EfiStatus.SUCCESS, EfiStatus.DEVICE_ERROR


class Generations(Bell):
    """A guest whose processes follow each other; what one leaves is `state`, JSON as in a file."""

    def __init__(self, enter: Callable[..., Steps[Verdict]] | None = None) -> None:
        super().__init__()
        self.state: str | None = None
        self.done = 0
        self.asked: tuple[int, tuple[int, ...]] = 0, ()
        self._start = enter or self._enter
        self.gates = self.guest.efi.gates
        self.firmware = self._firmware()

    def _firmware(self) -> Firmware:
        return Firmware(self._make, self._start, self.calls.append, lambda: None, self._keep)

    def _keep(self, saved: SavedEfi | None) -> None:
        self.state = None if saved is None else json.dumps(to_json(saved))

    def saved(self) -> SavedEfi | None:
        return None if self.state is None else read_saved(json.loads(self.state), trampoline(), "the state")

    def ring(self, function: int, *arguments: int, stack: int = STACK, seq: int | None = None) -> Answer:
        self.asked = function, arguments
        answer = super().ring(function, *arguments, stack=stack, seq=seq)
        self.done = self.seq
        return answer

    def call(self, name: str | Service[..., Any], *arguments: int, stack: int = STACK) -> Answer:
        efi = self.firmware.environment
        self.gates = efi.gates if efi is not None else self.gates
        index = [one.name for one in self.gates.services].index(str(name))
        return self.ring(index, *arguments, stack=stack)

    def unheard(self, name: str, *arguments: int) -> None:
        """Make a call whose process dies before the guest has its answer."""
        before = self.done
        self.call(name, *arguments)
        self.done = before

    def next_process(self) -> Answer | None:
        """Have another process go on; return what it answers to the call that was left, if one was."""
        saved = self.saved()
        self.firmware = self._firmware()
        efi = None
        if saved is not None and saved.runtime:
            efi = resumed(saved, self.guest.memory, trampoline(), self.guest.surroundings)
            self.guest.efi = efi
        calls = saved.calls if saved is not None else 0
        self.firmware.take_over(Heir.of(saved, self.seq, self.done), efi, calls, self.done)
        return None if self.seq == self.done else self.ring(self.asked[0], *self.asked[1], seq=self.seq)

    def status(self, name: str, *arguments: int) -> int:
        return self.stored(self.call(name, *arguments))

    def stored(self, answer: Answer | None) -> int:
        """Do with an answer what a guest does, and return the status that its caller gets."""
        assert isinstance(answer, Return | Commit)
        if isinstance(answer, Commit):
            for store in answer.stores:
                self.guest.memory.write(store.target, store.data)
        assert answer.value is not None
        return answer.value

    def named(self, name: str) -> None:
        memory = self.guest.memory
        memory.write(NAME, f"{name}\0".encode("utf-16-le"))
        memory.write(VENDOR, (guids.GLOBAL_VARIABLE if name == "SetupMode" else OWNER).wire)
        memory.write(STACK + 0x28, DATA.to_bytes(8, "little"))

    def set_arguments(self, name: str, data: bytes, attributes: int = LASTING) -> tuple[int, ...]:
        self.named(name)
        self.guest.memory.write(DATA, data)
        return NAME, VENDOR, attributes, len(data)

    def set_variable(self, name: str, data: bytes, attributes: int = LASTING) -> int:
        return self.status("SetVariable", *self.set_arguments(name, data, attributes))

    def get_arguments(self, name: str, room: int) -> tuple[int, ...]:
        self.named(name)
        self.guest.memory.write(NUMBER, room.to_bytes(8, "little"))
        return NAME, VENDOR, 0, NUMBER

    def get_variable(self, name: str) -> bytes | int:
        """Return its data, or the status that is not EFI_SUCCESS."""
        status = self.status("GetVariable", *self.get_arguments(name, 64))
        size = int.from_bytes(self.guest.memory.read(NUMBER, 8), "little")
        return status or self.guest.memory.read(DATA, size)

    def leave_boot_services(self) -> Answer:
        return self.call("ExitBootServices", self.image, self.efi.pages.key)

    def map_arguments(self, distance: int = 0) -> tuple[int, ...]:
        """Return the arguments of SetVirtualAddressMap: all runtime memory, so far from where it is."""
        last = self.efi.final_memory_map
        ranges = [one for one in last if one.attribute & MemoryAttribute.RUNTIME]
        data = b"".join(replace(one, virtual_start=one.physical_start + distance).pack() for one in ranges)
        self.guest.memory.write(DATA, data)
        return len(data), MemoryDescriptor.SIZE, EFI_MEMORY_DESCRIPTOR_VERSION, DATA

    def notify_of_addresses(self) -> int:
        """Have an event that SetVirtualAddressMap notifies; return its function."""
        code = self.efi.pages.allocate(AllocateType.ANY_PAGES, MemoryType.RUNTIME_SERVICES_CODE, 1, 0)
        self.efi.events.create(EVT_SIGNAL_VIRTUAL_ADDRESS_CHANGE, Tpl.NOTIFY, code, 7)
        return code


@pytest.fixture
def guest() -> Generations:
    made = Generations()
    made.boot()
    return made


@pytest.fixture
def left(guest: Generations) -> Generations:
    """A guest that has left boot services."""
    assert guest.stored(guest.leave_boot_services()) == SUCCESS
    return guest


# ---------------------------------------------------------------- after ExitBootServices


def test_every_runtime_call_may_be_served_by_a_process_of_its_own(left: Generations) -> None:
    def each(name: str, *arguments: int) -> int:
        left.next_process()
        return left.status(name, *arguments)

    assert each("SetVirtualAddressMap", *left.map_arguments()) == SUCCESS
    assert each("SetVariable", *left.set_arguments("Lasting", b"value")) == SUCCESS
    assert each("GetVariable", *left.get_arguments("Lasting", 2)) == EfiStatus.BUFFER_TOO_SMALL
    assert each("GetVariable", *left.get_arguments("Lasting", 64)) == SUCCESS
    assert left.guest.memory.read(DATA, 5) == b"value"
    assert each("GetTime", DATA, 0) == SUCCESS
    assert each("SetTime", DATA) == SUCCESS
    assert each("GetNextHighMonotonicCount", DATA) == SUCCESS
    first = left.guest.memory.read(DATA, 4)
    assert each("GetNextHighMonotonicCount", DATA) == SUCCESS
    assert left.guest.memory.read(DATA, 4) > first
    assert each("SetVirtualAddressMap", *left.map_arguments()) == EfiStatus.UNSUPPORTED
    assert each("AllocatePool", 2, 64, DATA) == EfiStatus.UNSUPPORTED
    assert left.calls[-1].why == "boot services have ended"
    left.next_process()
    assert verdict(left.call("ResetSystem", 2, 0, 0, 0)).outcome is Outcome.POWERED_OFF


def test_names_of_variables_come_in_the_same_order_from_each_process(left: Generations) -> None:
    def names(change: bool) -> list[bytes]:
        left.named("")
        found: list[bytes] = []
        while True:
            if change:
                left.next_process()
            left.guest.memory.write(NUMBER, (0x100).to_bytes(8, "little"))
            if left.status("GetNextVariableName", NUMBER, NAME, VENDOR) != SUCCESS:
                return found
            found.append(
                left.guest.memory.read(NAME, int.from_bytes(left.guest.memory.read(NUMBER, 8), "little"))
            )

    for name in ("One", "Two", "Three"):
        left.set_variable(name, b"x")
    assert len(names(change=False)) > 3
    assert names(change=True) == names(change=False)


def test_volatile_variables_of_the_guest_outlive_their_process(guest: Generations) -> None:
    assert guest.set_variable("Volatile", b"stays", ACCESS) == SUCCESS
    assert guest.set_variable("BootOnly", b"goes", VariableAttribute.BOOTSERVICE_ACCESS) == SUCCESS
    guest.leave_boot_services()
    guest.next_process()
    assert guest.get_variable("Volatile") == b"stays"
    assert guest.get_variable("BootOnly") == EfiStatus.NOT_FOUND


def test_addresses_once_set_are_those_of_the_next_process(left: Generations) -> None:
    tables = left.efi.tables
    slot = tables.runtime_services + 24
    before = left.guest.memory.word(slot)
    left.next_process()
    assert left.status("SetVirtualAddressMap", *left.map_arguments(0x1_0000_0000)) == SUCCESS
    left.next_process()
    assert left.guest.memory.word(slot) == before + 0x1_0000_0000
    assert left.efi.has_virtual_addresses


def test_what_set_virtual_address_map_notifies_outlives_the_process_that_knew_it(guest: Generations) -> None:
    function = guest.notify_of_addresses()
    guest.leave_boot_services()
    guest.next_process()
    answer = guest.call("SetVirtualAddressMap", *guest.map_arguments())
    assert isinstance(answer, Upcall)
    assert (answer.function, answer.arguments[1]) == (function, 7)
    assert guest.returned() == Return(SUCCESS)


def test_a_process_that_dies_while_addresses_change_leaves_them_as_they_were(guest: Generations) -> None:
    guest.notify_of_addresses()
    guest.leave_boot_services()
    assert isinstance(guest.call("SetVirtualAddressMap", *guest.map_arguments()), Upcall)
    guest.next_process()
    assert guest.returned() == Return(DEVICE_ERROR)  # this ends the call of SetVirtualAddressMap
    assert not guest.efi.has_virtual_addresses
    assert isinstance(guest.call("SetVirtualAddressMap", *guest.map_arguments()), Upcall)


def test_a_call_that_was_carried_out_and_not_answered_fails_and_has_its_effect(left: Generations) -> None:
    left.unheard("SetVariable", *left.set_arguments("Lasting", b"value"))
    assert left.next_process() == Return(DEVICE_ERROR)
    assert left.calls[-1].service == "SetVariable"
    assert "died" in left.calls[-1].why
    assert left.get_variable("Lasting") == b"value"


def test_the_end_of_boot_services_is_not_lost_with_its_answer(guest: Generations) -> None:
    heard = guest.leave_boot_services()
    guest.done -= 1
    assert guest.next_process() == heard
    assert guest.calls[-1].status == SUCCESS
    assert guest.get_variable("SetupMode") == b"\1"


def test_an_answer_that_the_guest_has_is_not_given_again(left: Generations) -> None:
    left.next_process()
    left.unheard("GetTime", DATA, 0)
    assert left.next_process() == Return(DEVICE_ERROR)


def test_a_batch_of_stores_that_another_process_began_ends_in_failure(left: Generations) -> None:
    size = 3 * STAGING_SIZE // 2
    left.efi.surroundings.kept.variables.put(Variable("Large", OWNER, LASTING, bytes(size)))
    first = left.call("GetVariable", *left.get_arguments("Large", size))
    assert isinstance(first, Commit)
    assert first.value is None
    left.next_process()
    assert left.ring(Function.DONE) == Return(DEVICE_ERROR)
    assert left.get_variable("SetupMode") == b"\1"


def test_what_the_new_process_asks_for_ends_as_ever(left: Generations) -> None:
    size = 3 * STAGING_SIZE // 2
    left.efi.surroundings.kept.variables.put(Variable("Large", OWNER, LASTING, bytes(size)))
    left.next_process()
    answer = left.call("GetVariable", *left.get_arguments("Large", size))
    while isinstance(answer, Commit) and answer.value is None:
        answer = left.ring(Function.DONE)
    assert left.stored(answer) == SUCCESS


def test_calls_are_counted_on(left: Generations) -> None:
    last = left.calls[-1].index
    left.next_process()
    left.get_variable("SetupMode")
    assert left.calls[-1].index > last


def test_an_overwritten_mailbox_is_seen_by_the_next_process_too(left: Generations) -> None:
    left.next_process()
    found = verdict(left.ring(0, seq=left.seq + 5))
    assert found.outcome is Outcome.BAD_REQUEST
    assert "overwritten" in found.message


def test_a_guest_that_resets_leaves_nothing_of_its_last_boot(left: Generations) -> None:
    left.guest.reset()
    left.ring(Function.BOOT, seq=1)
    assert left.state is None


def test_calls_that_change_nothing_save_nothing(left: Generations) -> None:
    before = left.state
    left.state = "untouched"
    left.get_variable("SetupMode")
    left.set_variable("Lasting", b"in the store")
    assert left.state == "untouched"
    left.state = before


# ---------------------------------------------------------------- while boot services last


def test_before_that_nobody_goes_on_and_the_image_ends_in_order(guest: Generations) -> None:
    guest.status("Stall", 0)  # the image's own frame is told
    guest.unheard("AllocatePool", 2, 64, DATA)
    assert guest.next_process() == Return(DEVICE_ERROR)
    for name in ("AllocatePool", "GetVariable", "ExitBootServices"):
        assert guest.call(name, 0, 0, 0, 0) == Return(DEVICE_ERROR)
        assert guest.calls[-1].service == name
        assert "before ExitBootServices" in guest.calls[-1].why
    assert guest.call("Exit", guest.image, EfiStatus.ABORTED) == Unwind(0x830000, EfiStatus.ABORTED)
    assert guest.returned(EfiStatus.ABORTED) == Return(DEVICE_ERROR)
    found = verdict(guest.ring(Function.END))
    assert found.outcome is Outcome.DIED
    assert "before ExitBootServices" in found.message


def test_the_process_after_the_next_one_refuses_as_well(guest: Generations) -> None:
    guest.status("Stall", 0)
    for _ in range(3):
        guest.next_process()
        assert guest.call("Stall", 0) == Return(DEVICE_ERROR)


def test_a_guest_of_which_nothing_was_saved_ends_too(guest: Generations) -> None:
    assert guest.state is None
    guest.next_process()
    assert guest.call("Stall", 0) == Return(DEVICE_ERROR)
    assert guest.returned() == Return(DEVICE_ERROR)
    assert verdict(guest.ring(Function.END)).outcome is Outcome.DIED


def test_exit_of_an_image_that_was_jumped_to_ends_the_run() -> None:
    def enter(efi: Environment, _information: int) -> Steps[Verdict]:
        efi.images[image] = LoadedImage(image, "jumped.efi", 0x500000, 0x1000, 0x500100)
        yield Enter(0, 0, tag=image)
        raise AssertionError("nothing comes back")

    image = 0x1234
    guest = Generations(enter)
    assert isinstance(guest.ring(Function.BOOT), Enter)
    guest.status("Stall", 0)
    guest.next_process()
    assert verdict(guest.call("Exit", image, 0)).outcome is Outcome.DIED


def test_a_guest_that_resets_finds_a_new_environment(guest: Generations) -> None:
    guest.next_process()
    guest.guest.reset()
    assert isinstance(guest.ring(Function.BOOT, seq=1), Upcall)
    assert guest.status("Stall", 0) == SUCCESS


# ---------------------------------------------------------------- what is saved is looked at


def changed(guest: Generations, **fields: object) -> object:
    assert guest.state is not None
    return {**json.loads(guest.state), **fields}


def test_a_profile_of_a_file_is_saved_whole() -> None:
    """Whatever has become of the file when another process takes the guest over."""
    profile = replace(
        PROFILES["linux"],
        name="of a file",
        services=PROFILES["linux"].services - {"SetTime"},
        service_refusals=(("SetTime", EfiStatus.NOT_FOUND),),
        file="small.json",
    )
    data = json.loads(json.dumps(to_json(profile)))
    assert from_json(Profile, data) == profile
    assert from_json(Profile, data).refusal("SetTime") == EfiStatus.NOT_FOUND


def test_what_is_saved_comes_back_as_it_was(left: Generations) -> None:
    saved = left.saved()
    assert saved is not None
    assert read_saved(to_json(saved), trampoline(), "the state") == saved


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"build": "0" * 64}, "trampoline"),
        ({"build": None}, "trampoline"),
        ({"format": 1}, "format 1"),
        ({"profile": "linux"}, "profile"),
        ({"seq": -1}, "seq"),
        ({"seq": 1 << 64}, "seq"),
        ({"seq": True}, "seq"),
        ({"gates": [["GetTime", True]]}, "gates[0]"),
        ({"gates": [{"service": "x" * 65, "returns_status": True}]}, "name"),
        ({"gates": [{"service": "GetTime", "returns_status": True}] * 500}, "gates"),
        ({"memory_map": []}, "memory map"),
        ({"memory_map": 5}, "memory_map"),
        ({"surplus": 1}, "surplus"),
    ],
)
def test_a_state_that_no_pvefi_has_saved_is_refused(
    left: Generations, fields: dict[str, object], words: str
) -> None:
    with pytest.raises(UsageError) as error:
        read_saved(changed(left, **fields), trampoline(), "the state")
    assert str(error.value).startswith("the state: expected ")
    assert words in str(error.value)


def test_a_table_outside_pvefi_s_own_memory_is_refused(left: Generations) -> None:
    assert left.state is not None
    tables = {**json.loads(left.state)["tables"], "system_table": SCRATCH}
    with pytest.raises(UsageError, match="system_table"):
        read_saved(changed(left, tables=tables), trampoline(), "the state")


@pytest.mark.parametrize("data", [None, 5, [], "text", {}])
def test_any_other_json_is_refused(data: object) -> None:
    with pytest.raises(UsageError, match="expected the state"):
        read_saved(data, trampoline(), "the state")
