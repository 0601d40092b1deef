# SPDX-License-Identifier: GPL-2.0-or-later
"""The service calls of results: their names, and the protocols that they ask for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pvefi.evaluate.analysis.results import shown
from pvefi.evaluate.task import TaskResult
from pvefi.layout import Guid
from pvefi.spec.uefi.guids import guid_name
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.values import Json

__all__ = ["ASKING", "Call", "calls_of", "calls_with"]

ASKING = frozenset(
    {
        "HandleProtocol",
        "LocateDevicePath",
        "LocateHandle",
        "LocateHandleBuffer",
        "LocateProtocol",
        "OpenProtocol",
        "RegisterProtocolNotify",
    }
)
"""Services by which an image asks for a protocol (UEFI 2.10 §7.3)."""

_ORDINARY = frozenset({EfiStatus.BUFFER_TOO_SMALL.efi_name, EfiStatus.NOT_READY.efi_name})
_CALLS_AT_MOST = 100_000
_NAME_LENGTH = 100


@dataclass(frozen=True)
class Call:
    """One call: its place, the service, the protocol or table that it names, its status, and the host's time.

    `status` is empty where the function returns none. `microseconds` is None where it was not told. `why` is
    the reason of a refusal, or empty.
    """

    index: int
    service: str
    guid: str
    status: str
    microseconds: float | None
    why: str

    @property
    def refused(self) -> bool:
        """Whether the caller did not get what it asked for; to ask for a size, or to poll, is no refusal."""
        if self.status in _ORDINARY:
            return False
        return bool(self.why) or self.status not in ("", EfiStatus.SUCCESS.efi_name)


def calls_of(result: TaskResult) -> Iterator[Call]:
    """Yield the calls of a boot in their order; a line that is none is left out."""
    for at, line in enumerate(result.calls[:_CALLS_AT_MOST]):
        service = line.get("service")
        if not isinstance(service, str):
            continue
        status, time, why, index = (line.get(name) for name in ("status", "host_us", "why", "index"))
        yield Call(
            index=index if isinstance(index, int) else at + 1,
            service=shown(service, _NAME_LENGTH),
            guid=_guid(line),
            status=shown(status, _NAME_LENGTH) if isinstance(status, str) else "",
            microseconds=float(time) if isinstance(time, int | float) and 0 <= time < 1e12 else None,
            why=shown(why) if isinstance(why, str) else "",
        )


def calls_with(results: Iterable[TaskResult]) -> tuple[Call, ...]:
    """Return the calls of the boot that made most of them."""
    found = max(results, key=lambda result: len(result.calls), default=None)
    return tuple(calls_of(found)) if found is not None else ()


def _guid(line: Mapping[str, Json]) -> str:
    """Return the name of the first GUID among the arguments, empty where there is none."""
    arguments = line.get("arguments")
    values = list(arguments.values()) if isinstance(arguments, dict) else arguments
    for value in values if isinstance(values, list) else ():
        told = value[1] if isinstance(value, list) and len(value) == 2 else value
        guid = told.get("guid") if isinstance(told, dict) else None
        if isinstance(guid, str):
            try:
                return guid_name(Guid.parse(guid))
            except ValueError:
                return shown(guid, _NAME_LENGTH)
    return ""
