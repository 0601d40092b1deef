# SPDX-License-Identifier: GPL-2.0-or-later
"""Small guest programs and the host's side of them, for every test that runs a guest."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pvefi.efi.service import Steps
from pvefi.efi.start import Start, fetch_by_guest, read_start
from pvefi.guest import Trampoline, load_trampoline
from pvefi.guest.mailbox import Answer, Finish, Function, Mailbox, MailboxLayout, Request, Upcall
from pvefi.machines import CpuState, Finished, Guest, Halted, Hardware, Keyboard, Machine, Stop

MIB, GIB = 1 << 20, 1 << 30
PROGRAM = 4 * MIB
"""Where tests put a program: free in the smallest guest, under the trampoline."""
DATA = PROGRAM + 0x10000
GATE = 7
"""A gate that programs ring."""

_LOOK = 0.01
"""Seconds from one look at a guest's CPUs to the next."""

Reply = Answer | Callable[[Request], Answer]
"""What a script answers: as it stands, or worked out from the request."""

HALT = bytes.fromhex("f4")  # hlt
LOOP = bytes.fromhex("ebfe")  # jmp .
RETURN = bytes.fromhex("c3")  # ret
INVALID = bytes.fromhex("0f0b")  # ud2
ALIGN = bytes.fromhex("4883ec28")  # sub $0x28, %rsp: home space, and the stack on 16 bytes


def call(address: int) -> bytes:
    """Return code that calls `address`, which clobbers rax."""
    return b"\x48\xb8" + address.to_bytes(8, "little") + b"\xff\xd0"  # movabs $address, %rax; call *%rax


def load_rcx(value: int) -> bytes:
    return b"\x48\xb9" + value.to_bytes(8, "little")  # movabs $value, %rcx


@dataclass
class Script:
    """Answers doorbells: BOOT by an upcall of the program, the rest by `answers` in order, then Finish."""

    answers: Iterable[Reply] = ()
    program: int = PROGRAM
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._left = iter(self.answers)

    def __call__(self, request: Request) -> Answer:
        self.requests.append(request)
        if request.function == Function.BOOT:
            return Upcall(self.program)
        step = next(self._left, Finish("no more answers"))
        return step(request) if callable(step) else step

    @property
    def functions(self) -> list[int]:
        return [request.function for request in self.requests]


@dataclass
class Run:
    """One guest with its script, and the parts of it that tests look at."""

    guest: Guest
    trampoline: Trampoline
    script: Script
    console: list[bytes]

    def go(self, timeout: float | None = 20) -> Stop:
        """Run the guest; where its CPUs can be looked at, that all have halted for good is Halted, too."""

        def look(cpus: tuple[CpuState, ...]) -> float:
            if cpus and all(cpu.halted and not cpu.interrupts for cpu in cpus):
                self.guest.finish(Halted(cpus[0].instruction_pointer))
            return _LOOK

        self.guest.look_soon(_LOOK)
        stop = self.guest.run(self.script, timeout, look)
        if isinstance(stop, Finished) and isinstance(stop.reason, Halted):
            return stop.reason
        return stop

    @property
    def mailbox(self) -> MailboxLayout:
        return MailboxLayout.unpack(self._page())

    def mailbox_host_side(self) -> Mailbox:
        return Mailbox(self._page())

    def set_word(self, name: str, value: int) -> None:
        at = MailboxLayout.offset_of(name)
        self._page()[at : at + 8] = value.to_bytes(8, "little")

    def word(self, address: int) -> int:
        return int.from_bytes(self.guest.memory.read(address, 8), "little")

    def _page(self) -> memoryview:
        return self.guest.memory.view(*self.trampoline.mailbox)


class Told(Script):
    """Reads hvm_start_info at BOOT, as every boot does, before the program is started.

    `prepare` is called with it; then all is as in a Script.
    """

    def __init__(self, run: Run, prepare: Callable[[Start], None]) -> None:
        super().__init__(run.script.answers)
        self._run, self._prepare = run, prepare
        self._steps: Steps[Start] | None = None

    def __call__(self, request: Request) -> Answer:
        if request.function == Function.BOOT or self._steps is not None:
            self.requests.append(request)
        if request.function == Function.BOOT:
            self._steps = read_start(
                fetch_by_guest(self._run.guest.memory, self._run.trampoline), request.rcx
            )
        elif self._steps is None:
            return super().__call__(request)
        assert self._steps is not None
        try:
            return next(self._steps)
        except StopIteration as end:
            self._steps = None
            self._prepare(end.value)
            return Upcall(self.program)


@contextmanager
def started(
    machine: Machine,
    program: bytes = HALT,
    answers: Iterable[Reply] = (),
    hardware: Hardware | None = None,
    keyboard: Keyboard | None = None,
) -> Iterator[Run]:
    """Give a guest whose first doorbell is answered by an upcall of `program`."""
    trampoline = load_trampoline()
    console: list[bytes] = []
    guest = machine.start(trampoline, hardware or Hardware(16 * MIB), console.append, keyboard)
    try:
        guest.memory.write(PROGRAM, program)
        yield Run(guest, trampoline, Script(answers), console)
    finally:
        guest.close()


class Assembler:
    """GNU as and ld: source text to the bytes that stand at an address."""

    def __init__(self, assembler: str, linker: str) -> None:
        self._assembler, self._linker = assembler, linker

    def __call__(self, source: str, symbols: Mapping[str, int] | None = None, *, at: int = PROGRAM) -> bytes:
        """Return `source` assembled for address `at`; `symbols` are what it may refer to."""
        with tempfile.TemporaryDirectory() as scratch:
            made, linked = Path(scratch) / "program.o", Path(scratch) / "program"
            known = [f"--defsym={name}={value:#x}" for name, value in (symbols or {}).items()]
            translate: list[str | Path] = [self._assembler, "--64", *known, "-o", made]
            subprocess.run(translate, input=source.encode(), check=True)
            link = [self._linker, "-melf_x86_64", "--oformat=binary", f"-Ttext={at:#x}", "-e0"]
            subprocess.run([*link, "-o", linked, made], check=True)
            return linked.read_bytes()
