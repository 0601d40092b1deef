# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest whose memory changes while the host reads it gets nowhere: all is read once, then looked at.

Another of its CPUs may write to arguments, to page tables and to the mailbox at any moment. Here each look at
its memory finds something else, as the worst of all races would have it.
"""

from __future__ import annotations

import random
import threading

import pytest

from pvefi.efi.environment import Phase
from pvefi.errors import GuestFault
from pvefi.guest.mailbox import Answer, Commit, Finish, Mailbox, MailboxLayout, Reset, Return
from pvefi.memory import GuestMemory
from pvefi.spec.uefi.tables import RUNTIME_SERVICES_SLOTS
from pvefi.verdict import Outcome
from tests.efi.boot.guest import SCRATCH, SIZE
from tests.efi.test_firmware import Bell

WINDOW = 0x1_0000
ROUNDS = 150
OWN = (".gates", ".mailbox")


class RacingMemory(GuestMemory):
    """Memory of which a window holds other bytes, words and pointers each time that the host looks."""

    chance: random.Random

    def _race(self) -> None:
        view = super().view(SCRATCH, WINDOW)
        for _ in range(4):
            at = self.chance.randrange(0, WINDOW - 8)
            word = self.chance.choice(
                (
                    *(0, 1, 5, 0x40, 0x7FFF_FFFF, (1 << 64) - 1, SIZE - 1, SIZE, 0x80_2000),
                    self.chance.getrandbits(64),
                    SCRATCH + self.chance.randrange(WINDOW),
                )
            )
            view[at : at + 8] = word.to_bytes(8, "little")

    def read(self, address: int, size: int) -> bytes:
        """Return what stands there now."""
        self._race()
        return super().read(address, size)

    def word(self, address: int) -> int:
        """Return what stands there now."""
        self._race()
        return super().word(address)


def racing(seed: int) -> tuple[Bell, random.Random]:
    """Return a guest that has left boot services, and races from now on."""
    chance = random.Random(seed)
    bell = Bell().boot()
    assert bell.call("ExitBootServices", bell.image, bell.efi.pages.key) != Return(0)
    assert bell.efi.phase is Phase.RUNTIME
    memory = RacingMemory(bell.guest.memory.blocks)
    memory.chance = chance
    bell.efi.physical = memory
    return bell, chance


def own(bell: Bell) -> bytes:
    parts = [bell.efi.trampoline.segment(name) for name in OWN]
    return b"".join(bell.guest.memory.read(part.address, part.size) for part in parts)


def ends(answer: Answer) -> bool:
    """Check that an answer is one that a guest may get, and return whether it is the last."""
    if isinstance(answer, Finish):
        assert getattr(answer.reason, "outcome", None) in (
            *(Outcome.BAD_REQUEST, Outcome.POWERED_OFF, Outcome.REBOOTED),
        )
        return True
    assert isinstance(answer, Return | Commit | Reset)
    return isinstance(answer, Reset)


@pytest.mark.parametrize("seed", range(8))
def test_no_race_in_arguments_gets_past_a_service(seed: int) -> None:
    bell, chance = racing(seed)
    before = own(bell)
    for _ in range(ROUNDS):
        words = [
            chance.choice((SCRATCH + chance.randrange(WINDOW), chance.getrandbits(64), 0, 7, 64))
            for _ in range(4)
        ]
        name = chance.choice([one for one in RUNTIME_SERVICES_SLOTS if one != "SetVirtualAddressMap"])
        if ends(bell.call(name, *words, stack=SCRATCH + chance.randrange(0, WINDOW, 8))):
            bell, chance = racing(chance.getrandbits(32))
            before = own(bell)
        assert own(bell) == before  # no store has reached what is pvefi's own


@pytest.mark.parametrize("seed", range(4))
def test_no_race_in_page_tables_leads_out_of_the_guest(seed: int) -> None:
    bell, chance = racing(seed)
    before = own(bell)
    for _ in range(ROUNDS):
        bell.cr3 = SCRATCH + chance.randrange(0, WINDOW, 0x1000)
        if ends(bell.call("GetTime", chance.getrandbits(48), 0, stack=chance.getrandbits(48))):
            bell, chance = racing(chance.getrandbits(32))
            before = own(bell)
        assert own(bell) == before


def test_a_mailbox_that_is_being_overwritten_gives_a_request_or_another() -> None:
    bell = Bell().boot()
    page = bytearray(0x1_0000)
    mailbox = Mailbox(memoryview(page))
    over = threading.Event()

    def overwrite() -> None:
        chance = random.Random(1)
        while not over.is_set():
            page[: MailboxLayout.SIZE] = chance.randbytes(MailboxLayout.SIZE)

    writer = threading.Thread(target=overwrite)
    writer.start()
    try:
        for _ in range(2000):
            request = mailbox.request()
            answer = bell.firmware.answer(request)
            if not isinstance(answer, Finish):
                mailbox.publish(answer)  # type: ignore[arg-type]
            mailbox.publish(Return(0))
    finally:
        over.set()
        writer.join()


def test_what_is_no_memory_is_told_from_what_is() -> None:
    bell, _ = racing(1)
    with pytest.raises(GuestFault):
        bell.efi.physical.read(SIZE, 1)
