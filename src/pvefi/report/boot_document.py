# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads back the documents that `pvefi boot --json` writes: one boot, or one selected of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pvefi.errors import UsageError
from pvefi.layout import Guid
from pvefi.report import boots as several
from pvefi.report.boot import SCHEMA, VERSION
from pvefi.report.json_node import Node, load_json
from pvefi.spec.linux.boot_params import BootParams
from pvefi.spec.linux.setup_data import SetupDataType
from pvefi.spec.uefi.memory import MemoryDescriptor, MemoryType
from pvefi.trace.values import Json
from pvefi.verdict import SegmentMapping

__all__ = ["BootDocument", "HandoffDocument", "InitrdDocument", "ProofDocument", "boot_document", "read_boot"]

_DESCRIPTORS_AT_MOST = 2048  # of an EFI memory map; the largest hosts have some hundreds
_KEPT = 512
"""Zero pages: an evaluation reads the same boots for each of its sections."""
_WAY_OUT = "pvefi boot --json writes one"
_CONTEXT = (
    "machine",
    "entry",
    "profile",
    "memory_size",
    "seed",
    "seconds",
    "host_seconds",
    "instructions",
    "instructions_to_image",
    "calls_made",
)


@dataclass(frozen=True)
class ProofDocument:
    """Where the kernel proper stands and by which bytes that is known; see `pvefi.verdict.Proof`."""

    address: int
    linked_address: int
    slide: int
    virtual_slide: int | None
    file_offset: int
    expected: bytes
    found: bytes


@dataclass(frozen=True)
class InitrdDocument:
    """The initial ramdisk in guest memory."""

    address: int
    size: int
    sha256: str


@dataclass(frozen=True)
class HandoffDocument:
    """What the kernel proper was given; `path` has the facts of the path by their names in the document.

    `setup_data` are the types of that list's nodes, in their order.
    """

    path: Mapping[str, str | int]
    proof: ProofDocument
    registers: Mapping[str, int]
    command_line: str
    initrd: InitrdDocument | None
    tables: tuple[tuple[Guid, int], ...]
    memory_map: tuple[MemoryDescriptor, ...]
    boot_params_address: int
    boot_params: BootParams
    mapping: tuple[SegmentMapping, ...] = ()
    setup_data: tuple[SetupDataType, ...] = ()


@dataclass(frozen=True)
class BootDocument:
    """One boot; `context` has what is not part of the hand-off, by name; `name` is its file and entry."""

    name: str
    verdict: str
    context: Mapping[str, Json]
    handoff: HandoffDocument | None


def read_boot(selection: str) -> BootDocument:
    """Return the boot that `selection` names: a file, or FILE:ENTRY or FILE:NUMBER for one of several boots.

    UsageError for a file that cannot be read or is none of pvefi's documents of boots, and for a selection
    that is missing or does not fit.
    """
    path, chosen = _split(selection)
    root = load_json(path, _WAY_OUT)
    schema = root.member("schema").value
    boots = [root]
    if schema == several.SCHEMA:
        _check_version(root, several.VERSION)
        boots = root.member("boots").elements()
    elif schema != SCHEMA:
        found = "none" if schema is None else f"{schema!r:.40}"
        raise UsageError(
            f'{path}: expected the schema "{SCHEMA}" or "{several.SCHEMA}", found {found}', _WAY_OUT
        )
    for boot in boots:
        if boot.member("schema").value != SCHEMA:
            boot.member("schema").unexpected(f'"{SCHEMA}"')
        _check_version(boot, VERSION)
    return boot_document(_select(str(path), boots, chosen))


def _split(selection: str) -> tuple[Path, str]:
    file, _, chosen = selection.rpartition(":")
    if file and chosen and not Path(selection).exists():
        return Path(file), chosen
    return Path(selection), ""


def _check_version(node: Node, newest: int) -> None:
    version = node.member("version").number()
    if version > newest:
        raise UsageError(
            f"{node.file} is a document of version {version:.6g}; this pvefi reads up to version {newest}",
            "read it with the pvefi that wrote it, or a newer one",
        )


def _select(path: str, boots: Sequence[Node], chosen: str) -> Node:
    entries = [boot.member("entry").text() for boot in boots]
    fitting = [boot for boot, entry in zip(boots, entries, strict=True) if chosen in ("", entry)]
    numbers = {str(number): boot for number, boot in enumerate(boots, 1)}
    if chosen in numbers and not fitting:
        fitting = [numbers[chosen]]
    if len(fitting) == 1:
        return fitting[0]
    has = ", ".join(f"{number} {entry:.20}" for number, entry in enumerate(entries[:20], 1)) or "none"
    wanted = f"one boot through {chosen}" if chosen else "one boot"
    found = f"{path}: expected {wanted}, found {len(fitting) or 'none'}; it has: {has}"
    raise UsageError(found, f"write {path}:{entries[0]:.20} or {path}:1" if len(boots) > 1 else "")


def boot_document(node: Node) -> BootDocument:
    """Return the boot that `pvefi.report.boot.to_json` made a document of; UsageError when it is none."""
    image, verdict = node.member("image"), node.member("verdict")
    context: dict[str, Json] = {
        "image": image.member("path").text(),
        "image_sha256": image.member("sha256").text(),
    }
    for name in _CONTEXT:
        context[name] = node.member(name).scalar()
    handoff = node.member("handoff")
    outcome, message = verdict.member("outcome").text(), verdict.member("message").text()
    return BootDocument(
        name=f"{node.file}:{node.member('entry').text()}",
        verdict=f"{outcome}: {message}",
        context=context,
        handoff=None if handoff.value is None else _handoff(handoff),
    )


def _handoff(node: Node) -> HandoffDocument:
    path = {}
    for name, fact in node.member("path").members().items():
        value = fact.scalar()
        if not isinstance(value, str | int) or isinstance(value, bool):
            fact.unexpected("a text or a whole number")
        path[name] = fact.word() if isinstance(value, int) else value
    return HandoffDocument(
        path=path,
        proof=_proof(node.member("proof")),
        registers={name: register.word() for name, register in node.member("registers").members().items()},
        command_line=node.member("command_line").text(),
        initrd=_initrd(node.member("initrd")),
        tables=tuple(
            (table.member("guid").made(Guid.parse, "a GUID"), table.member("address").word())
            for table in node.member("configuration_tables").elements()
        ),
        memory_map=_memory_map(node.member("memory_map")),
        boot_params_address=node.member("boot_params_address").word(),
        boot_params=_boot_params(node.member("boot_params").member("bytes")),
        mapping=_mapping(node.member("mapping")),
        setup_data=tuple(
            SetupDataType(one.member("type").member("value").word())
            for one in node.member("setup_data").elements()
        ),
    )


def _mapping(node: Node) -> tuple[SegmentMapping, ...]:
    if node.value is None:
        return ()  # documents had none at first
    return tuple(
        SegmentMapping(
            address=one.member("address").word(),
            size=one.member("size").word(),
            linked=one.member("linked").text(),
            mapped=one.member("mapped").word(),
            writable=one.member("writable").word(),
            executable=one.member("executable").word(),
            both=one.member("both").word(),
        )
        for one in node.elements()
    )


def _proof(node: Node) -> ProofDocument:
    virtual_slide = node.member("virtual_slide")
    return ProofDocument(
        address=node.member("address").word(),
        linked_address=node.member("linked_address").word(),
        slide=node.member("slide").number(),
        virtual_slide=None if virtual_slide.value is None else virtual_slide.word(),
        file_offset=node.member("file_offset").word(),
        expected=_bytes(node.member("expected")),
        found=_bytes(node.member("found")),
    )


def _bytes(node: Node) -> bytes:
    return node.made(bytes.fromhex, "bytes in hexadecimal")


def _initrd(node: Node) -> InitrdDocument | None:
    if node.value is None:
        return None
    return InitrdDocument(
        node.member("address").word(), node.member("size").word(), node.member("sha256").text()
    )


def _memory_map(node: Node) -> tuple[MemoryDescriptor, ...]:
    elements = node.elements()
    if len(elements) > _DESCRIPTORS_AT_MOST:
        raise UsageError(
            f"{node.file}: memory_map: expected at most {_DESCRIPTORS_AT_MOST} descriptors, "
            f"found {len(elements)}"
        )
    return tuple(
        MemoryDescriptor(
            MemoryType(one.member("type").member("value").word()),
            0,
            one.member("physical_start").word(),
            one.member("virtual_start").word(),
            one.member("number_of_pages").word(),
            one.member("attribute").word(),
        )
        for one in elements
    )


def _boot_params(node: Node) -> BootParams:
    data = _bytes(node)
    if len(data) != BootParams.SIZE:
        raise UsageError(
            f"{node.file}: handoff.boot_params.bytes: expected {BootParams.SIZE} bytes, found {len(data)}"
        )
    return _zero_page(data)


@lru_cache(_KEPT)
def _zero_page(data: bytes) -> BootParams:
    return BootParams.unpack(data)
