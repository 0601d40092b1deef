# SPDX-License-Identifier: GPL-2.0-or-later
"""Answers what a guest still asks of a process that has died, for the process that took over.

After ExitBootServices that is little: the one call that was left unanswered, and the end of what the guest
was asked to do by the other process. It comes back with EFI_DEVICE_ERROR, or with the answer that was saved.

While boot services last nobody can go on with an environment. Then each call comes back with
EFI_DEVICE_ERROR, and Exit() leaves the image as ever; so the image ends, and the trampoline after it. A guest
that resets finds a new environment.
"""

from __future__ import annotations

from dataclasses import dataclass

from pvefi.efi.resume import SavedEfi, SavedImage
from pvefi.guest.mailbox import Answer, Finish, Function, Request, Return, Unwind
from pvefi.spec.uefi.status import EfiStatus
from pvefi.verdict import Outcome, Verdict

__all__ = ["Heir"]

_ENDS = (Function.UPCALL_RETURN, Function.DONE)
_LOST = "the process that served the guest's EFI died before ExitBootServices"
_DIED = "the process that served the call died"


@dataclass(frozen=True)
class Heir:
    """What is left to answer; `lost` says that nobody goes on with the environment.

    `gates` are the services by gate index, `image` is what had been started; empty and None where the process
    died before it had saved that. `unanswered` is the doorbell that was left without an answer, 0 for none,
    and `saved` is the answer that it gets.
    """

    lost: bool
    gates: tuple[str, ...] = ()
    image: SavedImage | None = None
    unanswered: int = 0
    saved: Answer | None = None

    @classmethod
    def of(cls, saved: SavedEfi | None, seq: int, done: int) -> Heir:
        """Return what is left where the mailbox has `seq` and `done`."""
        if saved is None:
            return cls(lost=True)
        unanswered = seq if seq != done else 0
        answer = saved.answer.answer() if saved.answer is not None and saved.seq == unanswered else None
        gates = tuple(one.service for one in saved.gates)
        return cls(not saved.runtime, gates, saved.image, unanswered, answer)

    @property
    def why(self) -> str:
        """What became of a call that was refused, for the trace."""
        return _LOST if self.lost else _DIED

    def service(self, function: int) -> str:
        """Return the service behind gate `function`, empty for what is no gate."""
        return self.gates[function] if function < len(self.gates) else ""

    def answer(self, request: Request, *, idle: bool) -> Answer | None:
        """Return the answer to what was asked of another process; None for what this one has to answer.

        `idle` tells that the guest does nothing that this process has asked for.
        """
        if request.function == Function.END and idle:
            return self._end()
        if self.lost:
            return self._refusal(request)
        if request.seq == self.unanswered:
            return self.saved or Return(EfiStatus.DEVICE_ERROR)
        return Return(EfiStatus.DEVICE_ERROR) if idle and request.function in _ENDS else None

    def _refusal(self, request: Request) -> Answer:
        image = self.image
        if image is not None and self.service(request.function) == "Exit" and request.rcx == image.handle:
            # Where it was entered by a jump there is no frame to unwind to.
            return self._end() if image.frame is None else Unwind(image.frame, request.rdx)
        return Return(EfiStatus.DEVICE_ERROR)

    def _end(self) -> Finish:
        name = self.image.name if self.image is not None else "the image"
        text = _LOST if self.lost else f"{name} ended, after the process that served its EFI had died"
        return Finish(Verdict(Outcome.DIED, text, EfiStatus.DEVICE_ERROR))
