# SPDX-License-Identifier: GPL-2.0-or-later
"""Made-up calls, each field a keyword, and hypothesis strategies for all that a call may hold."""

from __future__ import annotations

from hypothesis import strategies as st

from pvefi.layout import Guid
from pvefi.spec.uefi.guids import GUID_NAMES
from pvefi.spec.uefi.memory import AllocateType, MemoryAttribute, MemoryType
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import Address, CallEvent, Value

__all__ = ["call", "calls", "values"]


def call(
    index: int = 1,
    service: str = "AllocatePages",
    status: EfiStatus | None = EfiStatus.SUCCESS,
    *,
    arguments: tuple[tuple[str, Value], ...] = (),
    result: int | None = None,
    outputs: tuple[tuple[str, Value], ...] = (),
    host_us: float = 10.0,
    instructions: int | None = None,
    why: str = "",
    depth: int = 0,
) -> CallEvent:
    return CallEvent(index, service, arguments, status, result, outputs, host_us, instructions, why, depth)


def allocate_pages() -> CallEvent:
    return call(
        12,
        arguments=(
            ("Type", AllocateType.ANY_PAGES),
            ("MemoryType", MemoryType.LOADER_DATA),
            ("Pages", 4),
            ("Memory", Address(0)),
        ),
        outputs=(("Memory", Address(0x3E7F000)),),
        host_us=21.2,
    )


words = st.integers(0, (1 << 64) - 1)
texts = st.text(st.characters(codec=None, exclude_categories=()), max_size=80)  # lone surrogates too
guids = st.sampled_from(list(GUID_NAMES)) | st.binary(min_size=16, max_size=16).map(Guid)
members = (
    st.sampled_from(list(MemoryType))
    | st.integers(0, (1 << 32) - 1).map(MemoryType)
    | st.integers(0, 5).map(AllocateType)
    | words.map(EfiStatus)
    | words.map(MemoryAttribute)
)
values: st.SearchStrategy[Value] = (
    st.none() | st.booleans() | words | texts | st.binary(max_size=80) | guids | words.map(Address) | members
)
pairs = st.lists(st.tuples(st.text(max_size=12), values), max_size=5).map(tuple)
calls = st.builds(
    CallEvent,
    index=st.integers(1, 1 << 40),
    service=texts,
    arguments=pairs,
    status=st.none() | st.sampled_from(list(EfiStatus)) | words.map(EfiStatus),
    result=st.none() | words | words.map(Address) | members,
    outputs=pairs,
    host_us=st.floats(0, 1e9),
    instructions=st.none() | words,
    why=texts,
    depth=st.integers(0, 40),
)
