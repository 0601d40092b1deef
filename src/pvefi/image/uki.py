# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds what a boot stub carries in the sections of its own PE image: kernel, initrd, command line, ...

Sources: UAPI.5 "Unified Kernel Image", and docs/misc/efi.pandoc "Unified Xen kernel image" of Xen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pvefi.errors import ImageError
from pvefi.image.pe import PeImage, Section
from pvefi.image.resources import resource_text
from pvefi.spec.uki import (
    ADDON_SECTIONS,
    KERNEL,
    PROFILE,
    SECTIONS,
    XEN_CONFIG,
    XEN_KERNEL,
    XEN_SECTIONS,
    Resource,
)

__all__ = ["Unified", "UnifiedKind", "UnifiedResource", "find_unified"]

_MAX_RESOURCES = 512


class UnifiedKind(StrEnum):
    """What a PE image with such sections is."""

    UKI = "unified kernel image"
    ADDON = "addon for unified kernel images"
    XEN = "unified Xen image"


@dataclass(frozen=True, slots=True)
class UnifiedResource:
    """One section; `profile` is None in the base profile."""

    name: str
    kind: Resource
    profile: int | None
    offset: int
    size: int
    sha256: str
    text: str


@dataclass(frozen=True, slots=True)
class Unified:
    """A PE image with resources in its sections, in the file's order."""

    kind: UnifiedKind
    resources: tuple[UnifiedResource, ...]

    def resource(self, name: str, profile: int | None = None) -> UnifiedResource | None:
        """Return the first section of this name in a profile."""
        return next((r for r in self.resources if (r.name, r.profile) == (name, profile)), None)

    @property
    def kernels(self) -> tuple[UnifiedResource, ...]:
        """The kernels inside: one, or one a profile."""
        return tuple(r for r in self.resources if r.kind is Resource.KERNEL and r.size)


def find_unified(pe: PeImage, data: bytes) -> Unified | None:
    """Return the resources in `pe`, whose file is `data`; None when it is no unified image.

    ImageError when two of them share bytes of the file: each would be what the other is.
    """
    kind, known = _kind({section.name for section in pe.sections})
    if kind is None:
        return None
    chosen = [section for section in pe.sections if section.name in known]
    if len(chosen) > _MAX_RESOURCES:
        raise ImageError(
            pe.path, pe.header_offset, f"at most {_MAX_RESOURCES} resources", f"{len(chosen)} sections"
        )
    _check_apart(pe, chosen)
    return Unified(kind, tuple(_resources(data, chosen, known)))


def _kind(names: set[str]) -> tuple[UnifiedKind | None, Mapping[str, Resource]]:
    if KERNEL in names:
        return UnifiedKind.UKI, SECTIONS
    if {XEN_KERNEL, XEN_CONFIG} <= names:
        return UnifiedKind.XEN, XEN_SECTIONS
    if names & ADDON_SECTIONS:
        return UnifiedKind.ADDON, SECTIONS
    return None, {}


def _check_apart(pe: PeImage, sections: list[Section]) -> None:
    before: Section | None = None
    for section in sorted((s for s in sections if s.file_size), key=lambda s: s.raw_offset):
        if before is not None and section.raw_offset < before.raw_offset + before.file_size:
            raise ImageError(
                pe.path,
                section.header_offset,
                f"sections that share no bytes ({before.name} ends at "
                f"{before.raw_offset + before.file_size:#x})",
                f"{section.name} at {section.raw_offset:#x}",
                "the image was put together wrongly",
            )
        before = section


def _resources(
    data: bytes, sections: list[Section], known: Mapping[str, Resource]
) -> Iterator[UnifiedResource]:
    profile: int | None = None
    for section in sections:
        if section.name == PROFILE:
            profile = 0 if profile is None else profile + 1
        content = data[section.raw_offset : section.raw_offset + section.file_size]
        kind = known[section.name]
        yield UnifiedResource(
            name=section.name,
            kind=kind,
            profile=profile,
            offset=section.raw_offset,
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            text=resource_text(kind, content),
        )
