# SPDX-License-Identifier: GPL-2.0-or-later
"""A trace for people, in the way of strace: a line a call, arguments, answer, outputs, reason, time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from rich.console import Console
from rich.text import Text

from pvefi.trace.columns import print_lines
from pvefi.trace.events import CallEvent, Value
from pvefi.trace.jsonl import Trace, TraceHeader
from pvefi.trace.spelling import TEXT_LIMIT, escaped, spell
from pvefi.verdict import Verdict

__all__ = [
    "call_line",
    "call_lines",
    "call_text",
    "end_text",
    "is_refusal",
    "render",
    "select",
    "verdict_line",
    "verdict_message",
]

_DEEPEST = 16  # upcalls never nest so far; a damaged file's depth must not fill a screen with blanks


def is_refusal(event: CallEvent) -> bool:
    """Whether the guest did not get what it asked for: an error status, or a reason in the trace."""
    return bool(event.why) or (event.status is not None and event.status.is_error)


def select(
    events: Iterable[CallEvent], services: Sequence[str] = (), *, refusals_only: bool = False
) -> Iterator[CallEvent]:
    """Yield the events whose service matches one of the globs `services` (all when there are none).

    A glob matches the whole name or its last part: `OutputString`, `Locate*`, `EFI_RNG_PROTOCOL.*`; case
    does not count.
    """
    globs = [glob.casefold() for glob in services]
    for event in events:
        if refusals_only and not is_refusal(event):
            continue
        name = event.service.casefold()
        if not globs or any(fnmatchcase(name, glob) or fnmatchcase(_last(name), glob) for glob in globs):
            yield event


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def call_line(event: CallEvent, limit: int = TEXT_LIMIT) -> str:
    """Return one call as a line of plain text; strings and buffers are cut to `limit`."""
    return call_text(event, limit).plain


def call_text(event: CallEvent, limit: int = TEXT_LIMIT) -> Text:
    """Return one call as a line with its colours, not indented by depth and without its number."""
    interface, dot, name = event.service.rpartition(".")
    parts: list[str | tuple[str, str]] = [interface + dot, (name, "bold")]
    parts += ["(", _pairs(event.arguments, limit), ")"]
    if event.status is not None:
        parts += [" = ", (event.status.efi_name, "bold red" if event.status.is_error else "green")]
    elif event.result is not None:
        parts += [" = ", spell(event.result, limit)]
    if event.outputs:
        parts.append(f" [{_pairs(event.outputs, limit)}]")
    if event.why:
        parts += [" ", (f"({escaped(event.why)})", "red")]
    counted = "" if event.instructions is None else f" at {event.instructions:,}"
    parts.append((f" <{round(event.host_us, 3):.0f} us{counted}>", "dim"))
    return Text.assemble(*parts, no_wrap=True)


def _pairs(pairs: tuple[tuple[str, Value], ...], limit: int) -> str:
    return ", ".join(f"{name}={spell(value, limit)}" for name, value in pairs)


def render(
    trace: Trace,
    console: Console,
    services: Sequence[str] = (),
    *,
    refusals_only: bool = False,
    limit: int = TEXT_LIMIT,
) -> None:
    """Print which boot it is, the selected calls, a line each, and how the boot ended."""
    print_lines(_lines(trace, services, refusals_only, limit), console, whole=True)


def _lines(trace: Trace, services: Sequence[str], refusals_only: bool, limit: int) -> Iterator[Text]:
    yield _head_text(trace.header)
    yield from call_lines(list(select(trace.events, services, refusals_only=refusals_only)), limit)
    yield end_text(trace)


def call_lines(events: Sequence[CallEvent], limit: int = TEXT_LIMIT) -> Iterator[Text]:
    """Yield calls as lines with their numbers, indented by how much deeper than the outermost each stands."""
    width = max((len(str(event.index)) for event in events), default=0)
    outermost = min((event.depth for event in events), default=0)
    for event in events:
        indent = "  " * min(event.depth - outermost, _DEEPEST)
        yield Text.assemble((f"{event.index:>{width}} ", "dim"), indent, call_text(event, limit))


def _head_text(header: TraceHeader) -> Text:
    facts = [
        header.machine and f"machine {header.machine}",
        header.entry and f"entry {header.entry}",
        header.profile and f"profile {header.profile}",
        header.memory_size and f"{header.memory_size >> 20} MiB",
    ]
    told = "".join(f", {escaped(fact)}" for fact in facts if fact)
    return Text.assemble("--- ", (escaped(header.image), "bold"), told, " ---")


def end_text(trace: Trace) -> Text:
    """Return the line that closes a trace: the verdict, or why there is none."""
    if trace.verdict is None:
        return Text.assemble("+++ ", (trace.note, "bold red"), " +++")
    verdict = trace.verdict
    return Text.assemble("+++ ", (verdict.outcome.value, "bold"), f": {verdict_message(verdict)}", " +++")


def verdict_line(verdict: Verdict) -> str:
    """Return a verdict on a line: the outcome and its message."""
    return f"{verdict.outcome.value}: {verdict_message(verdict)}"


def verdict_message(verdict: Verdict) -> str:
    """Return a verdict's message, with the image's status where the message does not tell it."""
    message = escaped(verdict.message)
    if verdict.status is None or verdict.status.efi_name in message:
        return message
    return f"{message}, {verdict.status.efi_name}"
