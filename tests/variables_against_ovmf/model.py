# SPDX-License-Identifier: GPL-2.0-or-later
"""What UEFI 2.10 §8.2 says of variables, as a model: for each call, what it may answer and what it does.

The specification gives no order in which a call's faults are looked for. So a call with several has several
right answers, and one without any succeeds. Where a limit is the implementation's own, the model is told it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pvefi.layout import Guid
from pvefi.spec.uefi.guids import GLOBAL_VARIABLE
from pvefi.spec.uefi.status import EfiStatus
from tests.variables_against_ovmf.operations import (
    FILL,
    UNTOUCHED,
    ExitBootServices,
    GetNextVariableName,
    GetVariable,
    Operation,
    Outcome,
    QueryVariableInfo,
    SetVariable,
    Walk,
)

NV, BS, RT = 0x1, 0x2, 0x4
HARDWARE_ERROR, DEPRECATED, TIME_BASED, APPEND, ENHANCED = 0x8, 0x10, 0x20, 0x40, 0x80
ACCESS = BS | RT
DEFINED = 0xFF
"""Every attribute bit that the specification defines."""

Key = tuple[bytes, Guid]
Faults = list[set[EfiStatus]]

_INVALID = {EfiStatus.INVALID_PARAMETER}

# UEFI 2.10 §3.3, Table 3-1: the attributes of those that the operations use.
GLOBALS: Mapping[str, int] = {
    "BootNext": NV | BS | RT,
    "DriverOrder": NV | BS | RT,
    "SysPrepOrder": NV | BS | RT,
    "OsIndications": NV | BS | RT,
    "Boot0F01": NV | BS | RT,
    "Boot0F02": NV | BS | RT,
    "SysPrepFFFF": NV | BS | RT,
    "BootCurrent": BS | RT,
}
READ_ONLY = frozenset({"SetupMode", "SecureBoot", "SignatureSupport", "VendorKeys"})
"""Global variables by which the firmware tells of itself: "The variable in question is read-only"."""


@dataclass(frozen=True)
class Limits:
    """How large name and data of one variable may be together."""

    lasting: int = 0x8400 - 60
    volatile: int = 0x10000


@dataclass(frozen=True)
class Held:
    """A variable as it is kept."""

    attributes: int
    data: bytes

    @property
    def lasts_at_runtime(self) -> bool:
        """Whether an operating system may change it."""
        return self.attributes & (NV | RT) == NV | RT


@dataclass
class Model:
    """All variables of the vendors that the operations use."""

    limits: Limits = field(default_factory=Limits)
    variables: dict[Key, Held] = field(default_factory=dict)
    runtime: bool = False

    def visible(self) -> dict[Key, Held]:
        """Return what GetVariable() and GetNextVariableName() show."""
        return {key: held for key, held in self.variables.items() if not self.runtime or held.attributes & RT}

    def find(self, name: bytes, vendor: Guid) -> Held | None:
        """Return what GetVariable() shows."""
        return self.visible().get((text(name), vendor))

    # ------------------------------------------------------------ what may be answered

    def allowed(self, operation: Operation) -> set[EfiStatus]:
        """Return the statuses that the specification leaves a call to answer."""
        faults = self.faults(operation)
        if faults:
            return set().union(*faults)
        match operation:
            case GetNextVariableName():
                # Which variable is next, the specification leaves open.
                return {EfiStatus.SUCCESS, EfiStatus.NOT_FOUND, EfiStatus.BUFFER_TOO_SMALL}
            case Walk():
                return {EfiStatus.NOT_FOUND}
        return {EfiStatus.SUCCESS}

    def faults(self, operation: Operation) -> Faults:
        """Return all that is wrong with a call, for each the statuses that may say so."""
        match operation:
            case SetVariable():
                return self._set_faults(operation)
            case GetVariable():
                return self._get_faults(operation)
            case GetNextVariableName():
                return self._next_faults(operation)
            case QueryVariableInfo():
                return self._query_faults(operation)
        return []

    def _set_faults(self, call: SetVariable) -> Faults:
        if not call.name or not text(call.name) or call.vendor is None:
            return [_INVALID]
        held = self.variables.get((text(call.name), call.vendor))
        faults = _attribute_faults(call.attributes)
        size = call.data_size
        if size and call.data is None:
            faults.append(_INVALID)
        access, appends = call.attributes & ACCESS, call.attributes & APPEND
        wanted = call.attributes & ~APPEND
        deletes = not access or (not size and not appends)
        if held is None and deletes:
            faults.append({EfiStatus.NOT_FOUND})
        if held is not None and access and wanted != held.attributes:
            faults.append(_INVALID)
        if self.runtime:
            faults += self._runtime_faults(held, wanted, deletes=deletes, changes=bool(size))
        before = len(held.data) if held is not None and appends else 0
        largest = self.limits.lasting if wanted & NV else self.limits.volatile
        if len(text(call.name)) + 2 + before + size > largest:
            faults.append(_INVALID)
        if call.attributes & HARDWARE_ERROR:  # and these are no names of hardware error records
            faults.append(_INVALID)
        if call.vendor == GLOBAL_VARIABLE and (global_faults := _global_faults(call, deletes=deletes)):
            faults += global_faults
            if held is None and not size and not deletes:
                # "If the variable does not exist and EFI_VARIABLE_APPEND_WRITE is set and the size is
                # zero, the variable is not created and EFI_SUCCESS is returned": nothing is made wrongly.
                faults[-1] = faults[-1] | {EfiStatus.SUCCESS}
        return faults

    def _runtime_faults(self, held: Held | None, wanted: int, *, deletes: bool, changes: bool) -> Faults:
        """Return why an operating system may not do that."""
        if held is not None and not held.lasts_at_runtime:
            return [{EfiStatus.WRITE_PROTECTED, EfiStatus.INVALID_PARAMETER}]
        if held is None and not deletes and changes and wanted & (NV | RT) != NV | RT:
            return [_INVALID]
        return []

    def _get_faults(self, call: GetVariable) -> Faults:
        if call.name is None or call.vendor is None or call.size is None:
            return [_INVALID]
        held = self.find(call.name, call.vendor)
        if held is None:
            return [{EfiStatus.NOT_FOUND}]
        if call.size < len(held.data):
            return [{EfiStatus.BUFFER_TOO_SMALL}]
        return [_INVALID] if call.room is None else []

    def _next_faults(self, call: GetNextVariableName) -> Faults:
        if call.size is None or call.name is None or call.vendor is None:
            return [_INVALID]
        name = text(call.name)
        if 2 * (call.size // 2) < len(name) + 2:
            return [_INVALID]
        return [_INVALID] if name and (name, call.vendor) not in self.visible() else []

    def _query_faults(self, call: QueryVariableInfo) -> Faults:
        faults = _attribute_faults(call.attributes, may_be_unsupported=True)
        if not all(call.wanted):
            faults.append(_INVALID)
        if not call.attributes & ACCESS:
            faults.append({EfiStatus.INVALID_PARAMETER, EfiStatus.UNSUPPORTED})
        if self.runtime and not call.attributes & RT:
            faults.append(_INVALID)
        return faults

    # ------------------------------------------------------------ what was answered

    def complaint(self, operation: Operation, outcome: Outcome) -> str:
        """Return what is wrong with an outcome; empty when all is right with it."""
        allowed = self.allowed(operation)
        if outcome.status not in allowed:
            names = " or ".join(sorted(str(one.name) for one in allowed))
            return f"expected {names}, found {outcome.status!s}"
        wrong = ""
        match operation:
            case GetVariable():
                wrong = self._wrong_reading(operation, outcome)
            case GetNextVariableName():
                wrong = self._wrong_step(operation, outcome)
            case Walk():
                wrong = self._wrong_walk(outcome)
        return wrong

    def _wrong_reading(self, call: GetVariable, outcome: Outcome) -> str:
        size, attributes, data = outcome.outputs
        held = self.find(call.name, call.vendor) if call.name and call.vendor else None
        expected_size, expected_data = call.size, None if call.room is None else bytes([FILL]) * call.room
        expected_attributes = UNTOUCHED if call.wants_attributes else None
        if held is not None and outcome.status in (EfiStatus.SUCCESS, EfiStatus.BUFFER_TOO_SMALL):
            expected_size = len(held.data)
            if call.wants_attributes:
                expected_attributes = UNTOUCHED >> 32 << 32 | held.attributes
            if outcome.status is EfiStatus.SUCCESS and expected_data is not None:
                expected_data = held.data + expected_data[len(held.data) :]
        expected = expected_size, expected_attributes, expected_data
        if (size, attributes, data) == expected:
            return ""
        return f"expected {Outcome(outcome.status, expected)}"

    def _wrong_step(self, call: GetNextVariableName, outcome: Outcome) -> str:
        size, name, vendor = outcome.outputs
        if outcome.status is EfiStatus.SUCCESS:
            assert isinstance(name, bytes)
            assert isinstance(vendor, Guid)
            assert isinstance(size, int)
            assert call.name is not None
            assert call.size is not None
            found = text(name)
            if size != len(found) + 2 or size > call.size or name[size:] != call.name[size:]:
                return "the size told is not that of the name, or more than the name was written"
            mine = {one for _, one in self.variables} | {call.vendor}
            if vendor in mine and (found, vendor) not in self.visible() and vendor != GLOBAL_VARIABLE:
                return f"there is no such variable: {found!r}"
            return "it is the one before" if (found, vendor) == (text(call.name), call.vendor) else ""
        if outcome.status is EfiStatus.BUFFER_TOO_SMALL:
            assert isinstance(size, int)
            assert call.size is not None
            if size <= call.size:
                return "the size told is not larger"
            size = call.size
        return "" if (size, name, vendor) == (call.size, call.name, call.vendor) else "something was written"

    def _wrong_walk(self, outcome: Outcome) -> str:
        found = [(text(name), vendor) for name, vendor, _ in _walked(outcome)]
        if len(set(found)) != len(found):
            return "something was found twice"
        vendors = {vendor for _, vendor in self.variables} - {GLOBAL_VARIABLE}
        mine = {key for key in found if key[1] in vendors}
        expected = {key for key in self.visible() if key[1] in vendors}
        if mine != expected:
            return f"expected the variables {sorted(map(str, expected))}, found {sorted(map(str, mine))}"
        room = 2
        for name, _, told in _walked(outcome):
            if told != (len(name) if len(name) > room else None) or len(name) != len(text(name)) + 2:
                return f"a wrong size was told of {name!r}"
            room = len(name)
        return ""

    # ------------------------------------------------------------ what it does

    def carry_out(self, operation: Operation, status: EfiStatus) -> None:
        """Do what a call that answered `status` has done."""
        if isinstance(operation, ExitBootServices):
            self.runtime = True
        if not isinstance(operation, SetVariable) or status is not EfiStatus.SUCCESS:
            return
        assert operation.name is not None
        assert operation.vendor is not None
        key = text(operation.name), operation.vendor
        held = self.variables.get(key)
        data = (operation.data or b"")[: operation.data_size]
        if not operation.attributes & ACCESS or not (data or operation.attributes & APPEND):
            del self.variables[key]
        elif operation.attributes & APPEND and held is not None:
            self.variables[key] = Held(held.attributes, held.data + data)
        elif data:
            self.variables[key] = Held(operation.attributes & ~APPEND, data)


def text(name: bytes) -> bytes:
    """Return what stands before the NUL of a name in a guest's memory."""
    for at in range(0, len(name) - 1, 2):
        if not name[at] and not name[at + 1]:
            return name[:at]
    return name[: len(name) & ~1]


def _walked(outcome: Outcome) -> list[tuple[bytes, Guid, int | None]]:
    return list(outcome.outputs)  # type: ignore[arg-type] # what read_walk() makes


def _attribute_faults(attributes: int, *, may_be_unsupported: bool = False) -> Faults:
    faults: Faults = []
    if attributes & ~DEFINED:
        faults.append({*_INVALID, *([EfiStatus.UNSUPPORTED] if may_be_unsupported else [])})
    if attributes & ACCESS == RT:
        faults.append(_INVALID)
    # "Platforms should return EFI_UNSUPPORTED".
    if attributes & DEPRECATED:
        faults.append({EfiStatus.UNSUPPORTED})
    # Which of the two says that a kind of variable is not on offer, the specification leaves open.
    if attributes & HARDWARE_ERROR and may_be_unsupported:
        faults.append({EfiStatus.INVALID_PARAMETER, EfiStatus.UNSUPPORTED})
    return faults


def _global_faults(call: SetVariable, *, deletes: bool) -> Faults:
    """Return why a global variable cannot be so; with other attributes "the result is indeterminate"."""
    name = text(call.name or b"").decode("utf-16-le", "surrogatepass")
    if name in READ_ONLY:
        return [{EfiStatus.WRITE_PROTECTED, EfiStatus.INVALID_PARAMETER}]
    if deletes or GLOBALS.get(name) == call.attributes & ~APPEND:
        return []
    return [_INVALID]
