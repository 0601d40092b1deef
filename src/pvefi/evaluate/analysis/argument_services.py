# SPDX-License-Identifier: GPL-2.0-or-later
"""The 2016 page's claim that a guest needs no full EFI, part by part, held against the calls of this run.

A call is no need: what an image can do without, only `pvefi minimise` tells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from pvefi.evaluate.analysis.argument_evidence import (
    Evidence,
    Finding,
    Kernel,
    Point,
    Speaks,
    counted,
    listed,
    median_milliseconds,
    times,
    unmeasured,
)
from pvefi.evaluate.analysis.calls import Call
from pvefi.evaluate.analysis.results import Stage, stage, verdict
from pvefi.evaluate.analysis.views import View
from pvefi.evaluate.outcome import says_xen
from pvefi.spec.uefi.tables import BOOT_SERVICES_SLOTS, RESERVED_SLOT, RUNTIME_SERVICES_SLOTS

__all__ = ["SERVICES", "cost_text", "firmware_cost", "is_xen"]

_BY_EFI = ("efi", "efi-handover")
_SLOTS = frozenset({*BOOT_SERVICES_SLOTS, *RUNTIME_SERVICES_SLOTS} - {RESERVED_SLOT})
_ENOUGH = ("GetMemoryMap", "ExitBootServices")
_PERHAPS = ("Exit", "GetVariable", "GetNextVariableName", "SetVariable", "QueryVariableInfo")
_UNNEEDED = ("GetTime", "SetTime", "SetVirtualAddressMap", "ResetSystem")
_MINIMISE = "called is not needed: `pvefi minimise` finds what a kernel can do without"
_NO_CALLS = "no kernel that was booted by the EFI entry made a call"


def _calls(evidence: Evidence) -> dict[str, tuple[Call, ...]]:
    """Return for each kernel the calls of that boot by the EFI entry which made most of them."""
    found: dict[str, tuple[Call, ...]] = {}
    for kernel in evidence.kernels:
        boots = [view.calls for entry in _BY_EFI if (view := kernel.way(entry)) and view.calls]
        if boots:
            found[kernel.name] = max(boots, key=len)
    return found


def _of(calls: Iterable[Call], names: Iterable[str]) -> Counter[str]:
    wanted = frozenset(names)
    return Counter(call.service for call in calls if call.service in wanted)


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())


def _full(evidence: Evidence) -> Finding:
    by_kernel = _calls(evidence)
    if not by_kernel:
        return unmeasured(_NO_CALLS)
    used = {call.service for calls in by_kernel.values() for call in calls}
    answered = {call.service for calls in by_kernel.values() for call in calls if not call.refused}
    slots, protocols = used & _SLOTS, used - _SLOTS
    most = max(len(calls) for calls in by_kernel.values())
    shows = (
        f"{counted(len(by_kernel), 'kernel')}: of {len(_SLOTS)} functions in EFI's two tables {len(slots)} "
        f"were called and {len(answered & _SLOTS)} of these ever granted; "
        f"besides, {counted(len(protocols), 'function')} of protocols. "
        f"The most calls in one boot: {most:,}."
    )
    return Finding(shows, Speaks.MEASURED)


def _enough(evidence: Evidence) -> Finding:
    by_kernel = _calls(evidence)
    if not by_kernel:
        return unmeasured(_NO_CALLS)
    counts: Counter[str] = Counter()
    besides: Counter[str] = Counter()
    for calls in by_kernel.values():
        counts += _of(calls, _ENOUGH)
        besides += Counter(call.service for call in calls if call.service not in _ENOUGH and not call.refused)
    shows = f"Called: {_told(counts) or 'neither'}."
    if not besides:
        return Finding(f"{shows} Nothing else was granted.", Speaks.FOR)
    shows += f" Granted besides: {listed(f'{name} {count}' for name, count in besides.most_common())}."
    return Finding(shows, Speaks.UNDECIDED, _MINIMISE)


def _perhaps(evidence: Evidence) -> Finding:
    return _called(evidence, _PERHAPS, Speaks.FOR, Speaks.UNDECIDED)


def _unneeded(evidence: Evidence) -> Finding:
    return _called(evidence, _UNNEEDED, Speaks.UNDECIDED, Speaks.FOR)


def _called(evidence: Evidence, names: tuple[str, ...], called: Speaks, uncalled: Speaks) -> Finding:
    by_kernel = _calls(evidence)
    if not by_kernel:
        return unmeasured(_NO_CALLS)
    whole = {name: calls for name, calls in by_kernel.items() if name in _in_user_space(evidence)}
    if not whole:
        return unmeasured("every boot by the EFI entry was ended at the hand-off, or before user space")
    by_kernel = whole
    told = {name: _of(calls, names) for name, calls in by_kernel.items()}
    having = {name: counts for name, counts in told.items() if counts}
    if not having:
        return Finding(f"None of {', '.join(names)} was called by {listed(told)}.", uncalled)
    shows = "; ".join(f"{name}: {_told(counts)}" for name, counts in list(having.items())[:3])
    never = [name for name in names if not any(name in counts for counts in having.values())]
    shows += f". Never called: {', '.join(never)}." if never else "."
    return Finding(shows, called, _MINIMISE)


def _in_user_space(evidence: Evidence) -> set[str]:
    """Return the kernels whose boot of `_calls` came to its first process: others may call more later."""
    found = set()
    for kernel in evidence.kernels:
        boots = [view for entry in _BY_EFI if (view := kernel.way(entry)) and view.calls]
        if boots:
            most = max(boots, key=lambda view: len(view.calls))
            whole = [one for one in most.results if stage(one) >= Stage.USER_SPACE]
            if any(len(one.calls) == len(most.calls) for one in whole):
                found.add(kernel.name)
    return found


def is_xen(program: Kernel) -> bool:
    """Whether a program has said that it is Xen."""
    return any(says_xen(result) for view in program.ways for result in view.results)


def _dom0(evidence: Evidence) -> Finding:
    xens = [one for one in evidence.programs if is_xen(one)]
    if not xens:
        return unmeasured("no program among the images said that it is Xen")
    calls = max(len(view.calls) for one in xens for view in one.ways)
    ends = listed({verdict(result) for one in xens for view in one.ways for result in view.results}, "; ")
    return Finding(
        f"Xen's EFI loader was entered: {listed(one.name for one in xens)}, {counted(calls, 'call')} at "
        f"most; how that ended: {ends}. A dom0 was not started here.",
        Speaks.UNDECIDED,
    )


def _possibilities(evidence: Evidence) -> Finding:
    found = firmware_cost(evidence)
    if not found:
        return unmeasured("no kernel came to user space both by the EFI entry under pvefi and under OVMF")
    better = [ours <= theirs for _, _, ours, theirs in found]
    shows = f"An environment outside the guest against OVMF within it: {cost_text(found)}."
    return Finding(
        shows, Speaks.FOR if all(better) else Speaks.AGAINST if not any(better) else Speaks.UNDECIDED
    )


def firmware_cost(evidence: Evidence) -> list[tuple[str, str, float, float]]:
    """Return what both firmwares took for one kernel: its name, what was measured, pvefi's figure, OVMF's.

    Milliseconds to user space, then counted time, each where both have it on one machine; less is better.
    """
    found: list[tuple[str, str, float, float]] = []
    for kernel in evidence.kernels:
        own, other = kernel.way("efi"), kernel.way("ovmf")
        if own is not None and other is not None:
            found += _costs(kernel, own, other)
    return found


def _costs(kernel: Kernel, own: View, other: View) -> list[tuple[str, str, float, float]]:
    found = []
    for machine in dict.fromkeys(result.task.machine for result in own.results):
        one, two = (median_milliseconds(view.results, machine) for view in (own, other))
        if one and two:
            found.append((kernel.name, f"ms to user space on {machine}", one, two))
    ours, theirs = _counted_time(own), _counted_time(other)
    if ours and theirs:
        found.append((kernel.name, "million instructions (and ns of waiting) to user space", ours, theirs))
    ours, theirs = _free(own), _free(other)
    if ours and theirs:
        found.append((kernel.name, "MiB that the kernel does not have of its RAM", ours, theirs))
    return found


def _counted_time(view: View) -> float | None:
    counters = [result.counter for result in view.results if result.counter and result.task.kind == "count"]
    return counters[0] / 1e6 if counters else None


def _free(view: View) -> float | None:
    """Return how much of its RAM a kernel has not under its management, in MiB."""
    total = view.facts.memory.get("MemTotal") if view.facts is not None else None
    sizes = [result.task.memory_size for result in view.results if result.files]
    return (sizes[0] - total) / (1 << 20) if total and sizes else None


def cost_text(found: Iterable[tuple[str, str, float, float]]) -> str:
    """Return the figures of `firmware_cost` in a sentence."""
    by_kernel: dict[str, list[str]] = {}
    for name, what, ours, theirs in found:
        text = f"{ours:,.0f} against {theirs:,.0f} {what} ({times(theirs, ours)})"
        by_kernel.setdefault(name, []).append(text)
    return listed((f"{name}: {', '.join(texts)}" for name, texts in by_kernel.items()), "; ")


SERVICES = (
    Point(
        "You don't need full EFI emulation",
        "A guest needs few of EFI's functions; who provides an entry need not provide a firmware.",
        _full,
    ),
    Point(
        "Minimal EFI stubs for guests", "GetMemoryMap() and ExitBootServices() are what it takes.", _enough
    ),
    Point(
        "EFI stubs which may be needed for guests",
        "Exit() and the functions for variables may be needed besides.",
        _perhaps,
    ),
    Point(
        "EFI stubs not needed for guests",
        "GetTime(), SetTime(), SetVirtualAddressMap() and ResetSystem() are not needed.",
        _unneeded,
    ),
    Point("dom0 EFI", "A dom0 gets at the host's EFI through Xen.", _dom0),
    Point(
        "domU EFI emulation possibilities",
        "Xen may have an EFI environment of its own, or start OVMF in the guest.",
        _possibilities,
    ),
)
