# SPDX-License-Identifier: GPL-2.0-or-later
"""Random variable operations: a hypothesis state machine that knows by a model what there is.

So appends, deletions, other attributes, buffers that just fit and that just do not, happen often. Who carries
the operations out is a subclass's business: pvefi's services themselves, or a list for a guest to work off.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from pvefi.layout import Guid
from pvefi.spec.uefi.guids import GLOBAL_VARIABLE
from pvefi.spec.uefi.status import EfiStatus
from tests.variables_against_ovmf.model import (
    APPEND,
    BS,
    DEPRECATED,
    GLOBALS,
    HARDWARE_ERROR,
    NV,
    READ_ONLY,
    RT,
    Held,
    Key,
    Model,
)
from tests.variables_against_ovmf.operations import (
    ExitBootServices,
    GetNextVariableName,
    GetVariable,
    Operation,
    QueryVariableInfo,
    SetVariable,
    Walk,
    wide,
)

VENDORS = tuple(Guid.parse(f"7e57{number:04x}-2222-4333-8444-555555555555") for number in range(2))
NAMES = ("A", "a", "AB", "Name with blanks", "\ud800B", "\udfff", "\uffff\u0100", "\U0001f600", "N" * 120)
"""Case counts, one name begins another, lone surrogates are characters, and one name is long."""
USUAL = (NV | BS | RT, NV | BS, BS | RT, BS)
ODD = (
    0,
    RT,
    NV | RT,
    NV | BS | RT | 0x100,
    BS | 1 << 31,
    BS | DEPRECATED,
    NV | BS | RT | DEPRECATED,
    RT | DEPRECATED,
    NV | BS | RT | HARDWARE_ERROR,
    BS | HARDWARE_ERROR,
)
HUGE = (1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 2, (1 << 64) - 1)
"""Sizes that no buffer has."""
CHANGES = 5
"""How many writes there are at least between two walks, which are long."""
LOAD_OPTION = bytes.fromhex("01000000 0400") + wide("Test") + bytes.fromhex("7fff0400")
"""EFI_LOAD_OPTION — UEFI 2.10 §3.1.3 — with a device path that ends at once."""

_ROOM = 1024  # for any name that may come next


def _content_of(name: str) -> bytes:
    """Return data such as the specification gives the global variable `name`."""
    if name.startswith(("Boot0", "SysPrepF")):
        return LOAD_OPTION
    return bytes(8) if name == "OsIndications" else b"\x01\x0f"


class VariableMachine(RuleBasedStateMachine):
    """Draws operations; `perform` carries one out and says what it answered."""

    at_runtime: ClassVar[bool] = False
    """Whether boot services end after the first few variables."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.names: tuple[str, ...] = NAMES
        self.vendors = VENDORS
        self.changed = 0

    @abstractmethod
    def perform(self, operation: Operation) -> EfiStatus:
        """Carry `operation` out, and return its status."""

    def do(self, operation: Operation) -> None:
        """Carry `operation` out, and have the model do it too."""
        status = self.perform(operation)
        self.model.carry_out(operation, status)
        if isinstance(operation, SetVariable) and status is EfiStatus.SUCCESS:
            self.changed += 1

    @initialize(of_the_specification=st.integers(0, 3).map(lambda number: number == 3))
    def begin(self, of_the_specification: bool) -> None:
        if of_the_specification:
            self.names, self.vendors = (*GLOBALS, *READ_ONLY, "Bogus"), (GLOBAL_VARIABLE,)
        for number, attributes in enumerate(USUAL):
            name = wide(self.names[number])
            usual = self._usual(name, self.vendors[0], None) or attributes
            content = bytes([number]) * 5 if self.vendors is VENDORS else _content_of(_text(name))
            self.do(SetVariable(name, self.vendors[0], usual, content))
        if self.at_runtime:
            self.do(ExitBootServices())

    # ------------------------------------------------------------ what is drawn

    def _key(self, data: st.DataObject, *, mostly_there: bool = True) -> tuple[bytes, Guid, Held | None]:
        mine = sorted(key for key in self.model.variables if key[1] in self.vendors)
        if mine and mostly_there and data.draw(st.integers(0, 7)) < 7:
            key: Key = data.draw(st.sampled_from(mine))
        else:
            name = data.draw(st.sampled_from(self.names))
            key = wide(name)[:-2], data.draw(st.sampled_from(self.vendors))
        return key[0] + bytes(2), key[1], self.model.variables.get(key)

    def _attributes(self, data: st.DataObject, name: bytes, vendor: Guid, held: Held | None) -> int:
        usual = self._usual(name, vendor, held)
        dice = data.draw(st.integers(0, 9))
        if dice == 9:
            return data.draw(st.sampled_from(ODD))
        if dice >= 7 or not usual:
            return data.draw(st.sampled_from(USUAL))
        return usual

    def _usual(self, name: bytes, vendor: Guid, held: Held | None) -> int:
        if vendor == GLOBAL_VARIABLE:
            return GLOBALS.get(_text(name), NV | BS | RT)
        return held.attributes if held else 0

    def _content(self, data: st.DataObject, name: bytes, vendor: Guid) -> bytes:
        if vendor == GLOBAL_VARIABLE:
            return _content_of(_text(name))
        size = data.draw(st.sampled_from((0, 1, 1, 2, 3, 4, 5, 7, 8, 16, 100, 300)))
        if size > 8:
            return bytes([size & 0xFF]) * size
        return data.draw(st.binary(min_size=size, max_size=size))

    # ------------------------------------------------------------ what is done

    @rule(data=st.data())
    def set(self, data: st.DataObject) -> None:
        name, vendor, held = self._key(data)
        attributes = self._attributes(data, name, vendor, held)
        content = self._content(data, name, vendor)
        self.do(SetVariable(name, vendor, attributes, content))

    @rule(data=st.data())
    def create(self, data: st.DataObject) -> None:
        name, vendor, held = self._key(data, mostly_there=False)
        attributes = self._usual(name, vendor, held) or data.draw(st.sampled_from(USUAL))
        self.do(SetVariable(name, vendor, attributes, self._content(data, name, vendor)))

    @rule(data=st.data())
    def append(self, data: st.DataObject) -> None:
        name, vendor, held = self._key(data, mostly_there=data.draw(st.integers(0, 3)) < 3)
        attributes = self._attributes(data, name, vendor, held) or BS
        content = self._content(data, name, vendor)
        # What is appended to those of the specification would have to make sense there.
        if vendor == GLOBAL_VARIABLE or data.draw(st.integers(0, 3)) == 3:
            content = b""
        self.do(SetVariable(name, vendor, attributes | APPEND, content or None))

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        name, vendor, held = self._key(data)
        attributes = self._attributes(data, name, vendor, held)
        if data.draw(st.booleans()):
            self.do(SetVariable(name, vendor, attributes, None))
        else:
            self.do(SetVariable(name, vendor, 0, data.draw(st.sampled_from((None, b"x")))))

    @rule(data=st.data())
    def set_wrongly(self, data: st.DataObject) -> None:
        """Leave out what may not be, or name more than there is."""
        name, vendor, held = self._key(data)
        attributes = self._attributes(data, name, vendor, held) or BS
        call = SetVariable(name, vendor, attributes, b"data")
        wrong = data.draw(st.sampled_from(("name", "empty", "vendor", "data", "size", "limit")))
        match wrong:
            case "name" | "empty" | "vendor":
                call = replace(call, **_without(wrong))
            case "data":
                call = replace(call, data=None, size=4)
            case "size":
                call = replace(call, size=data.draw(st.sampled_from(HUGE)))
            case "limit":
                lasts = bool(attributes & NV)
                largest = self.model.limits.lasting if lasts else self.model.limits.volatile
                call = replace(call, data=bytes(largest - len(name) + 1))
                if not lasts:  # how large a volatile one may be, each decides for itself
                    call = replace(call, size=HUGE[0])
        self.do(call)

    @rule(data=st.data())
    def get(self, data: st.DataObject) -> None:
        name, vendor, held = self._key(data)
        if _text(name) in READ_ONLY:
            return  # what the firmware says of itself is compared elsewhere
        there = len(held.data) if held else 8
        size = data.draw(st.sampled_from((there, there, there - 1, there + 1, 0, 1, _ROOM, HUGE[2], HUGE[4])))
        size = max(size, 0)
        room = data.draw(st.sampled_from((max(there, min(size, _ROOM)), None)))
        self.do(GetVariable(name, vendor, size, room, data.draw(st.booleans())))

    @rule(wrong=st.sampled_from(("name", "empty", "vendor", "size")), data=st.data())
    def get_wrongly(self, wrong: str, data: st.DataObject) -> None:
        name, vendor, _ = self._key(data)
        call = GetVariable(name, vendor, _ROOM, _ROOM)
        self.do(replace(call, **_without(wrong)))

    @rule(data=st.data())
    def go_on(self, data: st.DataObject) -> None:
        name, vendor, _ = self._key(data)
        if _text(name) in READ_ONLY:
            return
        exact = len(name)
        size = data.draw(
            st.sampled_from((exact, exact, exact - 1, exact - 2, exact + 1, 0, 1, 2, _ROOM, HUGE[2]))
        )
        self.do(GetNextVariableName(size, name + bytes(_ROOM - len(name)), vendor))

    @rule(wrong=st.sampled_from(("size", "name", "vendor")), data=st.data())
    def go_on_wrongly(self, wrong: str, data: st.DataObject) -> None:
        name, vendor, _ = self._key(data)
        call = GetNextVariableName(_ROOM, name + bytes(_ROOM - len(name)), vendor)
        self.do(replace(call, **_without(wrong)))

    @precondition(lambda self: self.changed >= CHANGES)
    @rule()
    def walk(self) -> None:
        self.do(Walk())
        self.changed = 0

    @rule(
        attributes=st.one_of(st.sampled_from(USUAL), st.sampled_from((*USUAL, *ODD, APPEND | BS))),
        missing=st.sampled_from((None, None, None, None, 0, 1, 2)),
    )
    def query(self, attributes: int, missing: int | None) -> None:
        first, second, third = (number != missing for number in range(3))
        self.do(QueryVariableInfo(attributes, (first, second, third)))


def _without(wrong: str) -> dict[str, Any]:
    """Return the argument that is left out: NULL, or an empty name."""
    return {"name": wide("")} if wrong == "empty" else {wrong: None}


def _text(name: bytes) -> str:
    return name[:-2].decode("utf-16-le", "surrogatepass")
