# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults that are injected into service calls: what is typed for one, and what it does to its call.

A fault changes what stands behind a service, and the service itself then answers; only a bare status is put
in its place. So a short buffer has the needed size stored, and a stale key is stale.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from types import GeneratorType, MappingProxyType
from typing import Any

from pvefi.efi.environment import Environment, Phase
from pvefi.efi.errors import EfiError
from pvefi.efi.service import Arguments, InOut, Service, Steps, Text
from pvefi.errors import UsageError
from pvefi.spec.uefi.memory import AllocateType, MemoryType
from pvefi.spec.uefi.service_statuses import SERVICE_STATUSES
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import INJECTED

__all__ = [
    "SHORT_BUFFERS",
    "WITHOUT_STATUS",
    "Arrival",
    "Arriving",
    "CallPlace",
    "Fault",
    "FaultKind",
    "Interventions",
    "parse_fault",
]

_WAY_OUT = "such as GetVariable=EFI_DEVICE_ERROR, AllocatePool#3:exhausted, ExitBootServices#1:stale-key"
_WRITTEN = re.compile(r"(?P<service>[\w.]+)(?:#(?P<call>[1-9][0-9]{0,8}))?(?P<sign>[=:])(?P<what>[\w-]+)")
_HELD = "injected fault"
"""Who holds the pages that a fault takes."""

WITHOUT_STATUS = frozenset({"RaiseTPL", "RestoreTPL", "CopyMem", "SetMem", "ResetSystem"})
"""The services that return no status."""

SHORT_BUFFERS: Mapping[str, str] = MappingProxyType(
    {
        "GetMemoryMap": "memory_map_size",
        "LocateHandle": "buffer_size",
        "GetVariable": "data_size",
        "GetNextVariableName": "variable_name_size",
        "EFI_LOAD_FILE2_PROTOCOL.LoadFile": "buffer_size",
        "EFI_FILE_PROTOCOL.Read": "buffer_size",
        "EFI_FILE_PROTOCOL.GetInfo": "buffer_size",
        "EFI_RNG_PROTOCOL.GetInfo": "algorithm_list_size",
    }
)
"""The services that fill a buffer of the caller's, with the parameter that leads to its size."""


class FaultKind(StrEnum):
    """What a fault does; the values are what is typed."""

    STATUS = "status"
    """The call is answered with a status. An error has no effect; a warning has the service's effect."""
    STALE_KEY = "stale-key"
    """The memory map changes just before the call, so that the caller's key is no longer its key."""
    EXHAUSTED = "exhausted"
    """All free memory is taken just before the call, and stays so."""
    SHORT_BUFFER = "short-buffer"
    """The caller's buffer is taken for one that nothing fits into."""


@dataclass(frozen=True)
class CallPlace:
    """The `call`-th call of `service` in a boot, from 1 on."""

    service: str
    call: int

    def __str__(self) -> str:
        return f"{self.service}#{self.call}"


@dataclass(frozen=True)
class Fault:
    """A fault of one call of `service`, or with `call` None of each; `status` is there for STATUS alone."""

    service: str
    call: int | None
    kind: FaultKind
    status: EfiStatus | None = None

    def __str__(self) -> str:
        where = self.service if self.call is None else f"{self.service}#{self.call}"
        return f"{where}={self.status.efi_name}" if self.status is not None else f"{where}:{self.kind.value}"

    def meets(self, place: CallPlace) -> bool:
        """Whether the call at `place` has this fault."""
        return self.service == place.service and self.call in (None, place.call)


def parse_fault(text: str) -> Fault:
    """Return the fault that `text` spells: SERVICE[#CALL]=STATUS or SERVICE[#CALL]:KIND; UsageError for none.

    GetMemoryMap#2=EFI_OUT_OF_RESOURCES is that status at the second call of GetMemoryMap.
    """
    match = _WRITTEN.fullmatch(text)
    if match is None:
        raise UsageError(
            f"expected a fault as SERVICE#CALL=STATUS or SERVICE#CALL:KIND, found {text!r}", _WAY_OUT
        )
    service, what = match["service"], match["what"]
    call = int(match["call"]) if match["call"] else None
    if service not in SERVICE_STATUSES:
        raise UsageError(
            f"expected a service or protocol function in {text!r}, found {service!r}",
            _near(service, SERVICE_STATUSES, "pvefi trace show names those that are called"),
        )
    if match["sign"] == "=":
        return Fault(service, call, FaultKind.STATUS, _status(text, service, what))
    kinds = [kind.value for kind in FaultKind if kind is not FaultKind.STATUS]
    if what not in kinds:
        raise UsageError(f"expected one of {', '.join(kinds)} in {text!r}, found {what!r}", _WAY_OUT)
    kind = FaultKind(what)
    if kind is FaultKind.STALE_KEY and service != "ExitBootServices":
        raise UsageError(f"expected {kind} of ExitBootServices, found {text!r}", "ExitBootServices:stale-key")
    if kind is FaultKind.SHORT_BUFFER and service not in SHORT_BUFFERS:
        raise UsageError(
            f"expected {kind} of a service that fills a caller's buffer, found {text!r}",
            f"one of {', '.join(SHORT_BUFFERS)}",
        )
    return Fault(service, call, kind)


def _status(text: str, service: str, name: str) -> EfiStatus:
    known = [status.efi_name for status in EfiStatus if status is not EfiStatus.SUCCESS]
    if service in WITHOUT_STATUS:
        raise UsageError(f"expected a service that returns a status, found {text!r}", _WAY_OUT)
    if name == EfiStatus.SUCCESS.efi_name:
        why = "a status other than EFI_SUCCESS, which is never without effect"
        raise UsageError(f"expected {why}, found {text!r}", _WAY_OUT)
    if name not in known:
        raise UsageError(
            f"expected a status of UEFI in {text!r}, found {name!r}", _near(name, known, _WAY_OUT)
        )
    return EfiStatus[name.removeprefix("EFI_")]


def _near(name: str, known: Iterable[str], otherwise: str) -> str:
    found = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean {found[0]}?" if found else otherwise


@dataclass(frozen=True)
class Arrival:
    """A call that is about to be served: `service.decode(arguments)` are its arguments."""

    place: CallPlace
    service: Service[..., Any]
    arguments: Arguments


Arriving = Callable[[Environment, Arrival], tuple[Fault, ...]]
"""What is called before each call is served: it may change the environment, and returns faults that are
injected from this call on."""


class Interventions:
    """The faults of one boot, and the count of its calls by which they are found."""

    def __init__(
        self,
        faults: Iterable[Fault] = (),
        arriving: Arriving | None = None,
    ) -> None:
        self._faults = tuple(faults)
        self._arriving = arriving
        self._counts: Counter[str] = Counter()
        self._unmet = dict.fromkeys(self._faults)

    @property
    def unmet(self) -> tuple[Fault, ...]:
        """The faults of the beginning whose call was never made."""
        return tuple(self._unmet)

    def next(self, efi: Environment, service: Service[..., Any], arguments: Arguments) -> Fault | None:
        """Count a call of `service` and return its fault, None where it has none."""
        if not self._faults and self._arriving is None:
            return None
        self._counts[service.name] += 1
        place = CallPlace(service.name, self._counts[service.name])
        if self._arriving is not None:
            self._faults += self._arriving(efi, Arrival(place, service, arguments))
        found = next((fault for fault in self._faults if fault.meets(place)), None)
        if found is not None:
            self._unmet.pop(found, None)
        return found

    @staticmethod
    def serve(
        fault: Fault, efi: Environment, service: Service[..., Any], arguments: Arguments, values: list[Any]
    ) -> object:
        """Serve a call that has a fault, and return what its body does; `values` gets its arguments.

        EfiError with the reason INJECTED at its start.
        """
        if fault.status is not None and fault.status.is_error:
            with suppress(EfiError):  # an argument that the service would refuse
                values[:] = service.decode(arguments)
            raise EfiError(fault.status, INJECTED)
        values[:] = service.decode(arguments)
        match fault.kind:
            case FaultKind.STALE_KEY if efi.phase is Phase.BOOT:
                efi.pages.allocate(AllocateType.ANY_PAGES, MemoryType.BOOT_SERVICES_DATA, 1, 0, name=_HELD)
            case FaultKind.EXHAUSTED if efi.phase is Phase.BOOT:
                efi.pools.drain()
                efi.pages.take_all(_HELD)
            case FaultKind.SHORT_BUFFER:
                _shorten(efi, service, values)
        try:
            result = service.body(efi, *values)
        except EfiError as error:
            raise _marked(error) from error
        if isinstance(result, GeneratorType):
            return _steps(result, fault)
        return _end(result, fault)


def _steps(steps: Steps[Any], fault: Fault) -> Steps[Any]:
    try:
        result = yield from steps
    except EfiError as error:
        raise _marked(error) from error
    return _end(result, fault)


def _end(result: object, fault: Fault) -> object:
    """Return a body's result, or in its place the warning that is injected."""
    if fault.status is not None and (result is None or isinstance(result, EfiStatus)):
        raise EfiError(fault.status, INJECTED)
    return result


def _marked(error: EfiError) -> EfiError:
    return EfiError(error.status, f"{INJECTED}: {error.why}")


@dataclass(slots=True)
class _Short(InOut[int]):
    """A pointer to the size of a buffer that is seen as `seen` bytes, whatever the guest says."""

    seen: int = 0

    def get(self) -> int:
        """Return the size in force."""
        InOut.get(self)
        return self.seen


def _shorten(efi: Environment, service: Service[..., Any], values: list[Any]) -> None:
    """Have the body see a buffer that is too small; where its size decides nothing, leave it as it is."""
    names = [parameter.name for parameter in service.parameters()]
    at = names.index(SHORT_BUFFERS[service.name])
    size, seen = values[at], 0
    if service.name == "GetNextVariableName":
        # The name that was given ends within the buffer; the one that follows is longer than nothing.
        seen = _given_size(values[names.index("variable_name")], size.get())
    if service.name == "EFI_FILE_PROTOCOL.Read" and not _reads_directory(efi, values[names.index("this")]):
        return  # of a file, as much is read as there is room for
    values[at] = _Short(size.memory, size.address, size.size, size.convert, seen=seen)


def _given_size(name: Text, size: int) -> int:
    return len(name.get(size).encode("utf-16-le", "surrogatepass")) + 2


def _reads_directory(efi: Environment, this: int) -> bool:
    opened = efi.volume.files.get(this) if efi.volume is not None else None
    return opened is not None and opened.file.is_directory
