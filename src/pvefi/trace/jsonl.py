# SPDX-License-Identifier: GPL-2.0-or-later
"""The trace file: one JSON object a line, written as the boot goes.

The first line is the header: `{"schema": "pvefi/trace", "version": 1, ...}` with the fields of `TraceHeader`.
Then one line a call, with the fields of `CallEvent`: `arguments` and `outputs` are objects of values (see
`values`), or lists of `[name, value]` pairs where a name comes twice; `status` is the status's name, or its
number in hexadecimal where it has none. The last line is `{"end": "hand-off", "message": ..., "status": ...}`
with the verdict. Readers skip lines of other kinds, so that later versions may add some.

Each line is flushed when the call is answered: a boot that is killed leaves a trace up to its last call.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from io import BufferedReader
from math import isfinite
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from pvefi.errors import UsageError
from pvefi.files import create_file
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import CallEvent, Value
from pvefi.trace.values import Json, value_from_json, value_to_json
from pvefi.verdict import Outcome, Verdict

__all__ = [
    "SCHEMA",
    "VERSION",
    "Trace",
    "TraceHeader",
    "TraceWriter",
    "event_to_json",
    "read_trace",
    "trace_to_json",
]

SCHEMA = "pvefi/trace"
VERSION = 1

T = TypeVar("T")

_LINE_LIMIT = 16 << 20  # no line that pvefi writes comes near; a file without line ends must not fill memory


@dataclass(frozen=True)
class TraceHeader:
    """Which boot a trace is of; a field that a file lacks has the value given here."""

    image: str
    image_sha256: str = ""
    machine: str = ""
    entry: str = ""
    profile: str = ""
    memory_size: int = 0
    command_line: str = ""
    initrd: str = ""
    esp: str = ""
    seed: int | None = None
    counted: bool = False
    """Whether the guest's instructions were counted."""
    faults: tuple[str, ...] = ()
    """What was injected into its calls."""


@dataclass(frozen=True)
class Trace:
    """A trace file's contents; `verdict` is None and `note` says why when the file has no end."""

    header: TraceHeader
    events: tuple[CallEvent, ...]
    verdict: Verdict | None
    note: str = ""


class TraceWriter:
    """Writes a trace file, a line at a time; a context manager. UsageError when the file refuses."""

    def __init__(self, path: Path | str, header: TraceHeader) -> None:
        self._path = str(path)
        try:
            self._file = create_file(Path(path))
        except OSError as error:
            raise self._refusal(error) from error
        self._encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
        self._write({"schema": SCHEMA, "version": VERSION, **asdict(header)})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def append(self, event: CallEvent) -> None:
        """Write one call, and flush it."""
        self._write(event_to_json(event))

    def end(self, verdict: Verdict) -> None:
        """Write how the boot ended: the last line."""
        self._write(_end_record(verdict))

    def close(self) -> None:
        """Close the file; without `end` before, the trace says of itself that its boot did not finish."""
        try:
            self._file.close()
        except OSError as error:
            raise self._refusal(error) from error

    def _write(self, record: Json) -> None:
        try:
            self._file.write(self._encode(record).encode("ascii") + b"\n")
            self._file.flush()
        except OSError as error:
            raise self._refusal(error) from error

    def _refusal(self, error: OSError) -> UsageError:
        reason = error.strerror or str(error)
        return UsageError(f"{self._path}: cannot write the trace: {reason}", "give another --trace FILE")


def _end_record(verdict: Verdict) -> dict[str, Json]:
    status = verdict.status.efi_name if verdict.status is not None else None
    return {"end": verdict.outcome.value, "message": verdict.message, "status": status}


def trace_to_json(trace: Trace) -> dict[str, Json]:
    """Return what a trace says besides its calls: header, verdict or None, note."""
    end = _end_record(trace.verdict) if trace.verdict is not None else None
    return {**asdict(trace.header), "verdict": end, "note": trace.note}


def event_to_json(event: CallEvent) -> dict[str, Json]:
    """Return the line that stands for `event` in a trace file."""
    return {
        "index": event.index,
        "service": event.service,
        "arguments": _pairs_to_json(event.arguments),
        "status": event.status.efi_name if event.status is not None else None,
        "result": value_to_json(event.result),
        "outputs": _pairs_to_json(event.outputs),
        "host_us": round(event.host_us, 3),
        "instructions": event.instructions,
        "why": event.why,
        "depth": event.depth,
    }


def _pairs_to_json(pairs: tuple[tuple[str, Value], ...]) -> Json:
    table: dict[str, Json] = {name: value_to_json(value) for name, value in pairs}
    if len(table) == len(pairs):
        return table
    return [[name, value_to_json(value)] for name, value in pairs]


def read_trace(path: Path | str) -> Trace:
    """Return the trace in the file `path`, its calls in the order the guest made them.

    UsageError for a file that is no trace, that a newer pvefi wrote, or that is damaged before its last line;
    a last line that is cut short is left out, and `note` says so.
    """
    try:
        with Path(path).open("rb") as file:
            return _read(str(path), file)
    except OSError as error:
        raise UsageError(f"{path}: cannot read the trace: {error.strerror or error}") from error


def _read(path: str, file: BufferedReader) -> Trace:
    header = _header(path, file.readline(_LINE_LIMIT))
    events: list[CallEvent] = []
    verdict, note = None, "no end record: the boot was killed, or still runs"
    for number, line in _lines(path, file):
        record = _parsed(line)
        if record is None and not line.endswith(b"\n"):
            note = f"line {number} is cut short: the boot was killed while it wrote"
            break
        try:
            if not isinstance(record, dict):
                raise ValueError(f"{line[:60]!r} is no JSON object")
            if "end" in record:
                verdict, note = _verdict(record), ""
            elif "index" in record:
                events.append(_event(record))
        except (ValueError, TypeError, KeyError) as error:
            raise UsageError(f"{path}: line {number} is damaged: {_reason(error)}") from error
    events.sort(key=lambda event: event.index)
    return Trace(header, tuple(events), verdict, note)


def _lines(path: str, file: BufferedReader) -> Iterator[tuple[int, bytes]]:
    number = 1
    while line := file.readline(_LINE_LIMIT):
        number += 1
        if len(line) >= _LINE_LIMIT:
            raise UsageError(
                f"{path}: line {number} is longer than {_LINE_LIMIT >> 20} MiB: not a trace of pvefi"
            )
        yield number, line


def _parsed(line: bytes) -> Json:
    """Return what a line says, None when it is no JSON (a bare `null` is nothing either)."""
    try:
        record: Json = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record


def _header(path: str, line: bytes) -> TraceHeader:
    record = _parsed(line)
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        found = "an empty file" if not line else repr(line[:16])
        raise UsageError(
            f'{path} is no trace of pvefi: expected a first line with "schema": "{SCHEMA}", found {found}',
            "pvefi boot --trace FILE writes one",
        )
    version = record.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise UsageError(
            f"{path} is a trace of version {version!r:.20}; this pvefi reads up to version {VERSION}",
            "read it with the pvefi that wrote it, or a newer one",
        )
    known = {field.name: record[field.name] for field in fields(TraceHeader) if field.name in record}
    try:
        return _checked_header(known)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{path}: line 1 is damaged: {_reason(error)}") from error


def _checked_header(known: dict[str, Json]) -> TraceHeader:
    def text(name: str) -> str:
        return _expect(str, known.get(name, ""), name)

    seed = known.get("seed")
    return TraceHeader(
        image=text("image"),
        image_sha256=text("image_sha256"),
        machine=text("machine"),
        entry=text("entry"),
        profile=text("profile"),
        memory_size=_expect(int, known.get("memory_size", 0), "memory_size"),
        command_line=text("command_line"),
        initrd=text("initrd"),
        esp=text("esp"),
        seed=None if seed is None else _expect(int, seed, "seed"),
        counted=_expect(bool, known.get("counted", False), "counted"),
        faults=tuple(_expect(str, one, "faults") for one in _expect(list, known.get("faults", []), "faults")),
    )


def _event(record: dict[str, Json]) -> CallEvent:
    instructions, host_us = record["instructions"], record["host_us"]
    host_us = float(host_us) if isinstance(host_us, int) else _expect(float, host_us, "host_us")
    if not isfinite(host_us):
        raise ValueError(f"host_us: expected a time, found {host_us}")
    result = value_from_json(record["result"])
    if result is not None and not isinstance(result, int):
        raise ValueError(f"result: expected a number, found {result!r:.40}")
    return CallEvent(
        index=_expect(int, record["index"], "index"),
        service=_expect(str, record["service"], "service"),
        arguments=_pairs_from_json(record["arguments"]),
        status=_status(record["status"]),
        result=result,
        outputs=_pairs_from_json(record["outputs"]),
        host_us=host_us,
        instructions=None if instructions is None else _expect(int, instructions, "instructions"),
        why=_expect(str, record["why"], "why"),
        depth=_expect(int, record["depth"], "depth"),
    )


def _pairs_from_json(data: Json) -> tuple[tuple[str, Value], ...]:
    pairs = list(data.items()) if isinstance(data, dict) else _expect(list, data, "arguments and outputs")
    return tuple((_expect(str, name, "name"), value_from_json(value)) for name, value in pairs)


def _status(data: Json) -> EfiStatus | None:
    if data is None:
        return None
    name = _expect(str, data, "status")
    member = EfiStatus.__members__.get(name.removeprefix("EFI_"))
    return member if member is not None else EfiStatus(int(name, 16))


def _verdict(record: dict[str, Json]) -> Verdict:
    message = _expect(str, record["message"], "message")
    return Verdict(Outcome(record["end"]), message, _status(record["status"]))


def _expect(kind: type[T], found: Json, name: str) -> T:
    if not isinstance(found, kind):
        raise ValueError(f"{name}: expected {kind.__name__}, found {found!r:.40}")
    return found


def _reason(error: Exception) -> str:
    return f"no field {error}" if isinstance(error, KeyError) else str(error)
