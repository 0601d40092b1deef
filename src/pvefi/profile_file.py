# SPDX-License-Identifier: GPL-2.0-or-later
"""Profiles as JSON: the document `pvefi/profile`, which a user names, a task carries and `minimise` writes.

docs/profile-format.md describes it. Files come from anywhere: each defect is one line with its place.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from pvefi.efi.profiles import PROFILES, PROTOCOLS, SERVICES, Profile
from pvefi.errors import UsageError
from pvefi.layout import Guid
from pvefi.report.json_node import Node, load_json, parse_json
from pvefi.spec.uefi.guids import GUID_NAMES, guid_name
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.values import Json

__all__ = [
    "SCHEMA",
    "find_profile",
    "profile_from_json",
    "profile_from_text",
    "profile_to_json",
    "profile_to_text",
]

SCHEMA, _VERSION = "pvefi/profile", 1
_FIELDS = ("schema", "version", "name", "purpose", "stays", "services", "protocols", "refusals", "evidence")
_NEEDED = ("name", "stays", "services", "protocols")
_SIZE_LIMIT = 4 << 20  # bytes; the evidence of one takes less than 100 KiB
_WAY_OUT = "docs/profile-format.md has an example"


def find_profile(word: str) -> Profile:
    """Return the profile of this name, or the one in this file; UsageError when it is neither."""
    if word in PROFILES:
        return PROFILES[word]
    path = Path(word)
    if not path.exists():
        names = ", ".join(PROFILES)
        raise UsageError(
            f"expected a profile ({names}) or the file of one, found {word!r:.80}",
            _near(word, PROFILES) or "--profile",
        )
    if not path.is_file():
        found = "a directory" if path.is_dir() else "none"
        raise UsageError(f"{path}: expected the file of a profile, found {found}")
    return replace(profile_from_json(load_json(path, _WAY_OUT, _SIZE_LIMIT)), file=word)


def profile_from_text(text: str, where: str = "the profile") -> Profile:
    """Return the profile of this name, or the one that is this JSON text; UsageError when it is neither."""
    if text in PROFILES:
        return PROFILES[text]
    return profile_from_json(parse_json(text.encode("utf-8", "surrogatepass"), where, _WAY_OUT))


def profile_to_text(profile: Profile) -> str:
    """Return what `profile_from_text` takes: the name of a profile of pvefi's, or else JSON."""
    if PROFILES.get(profile.name) == profile:
        return profile.name
    return json.dumps(profile_to_json(profile))


def profile_from_json(node: Node) -> Profile:
    """Return the profile that a document tells; UsageError says where it tells none."""
    schema, version = node.member("schema"), node.member("version")
    if schema.value != SCHEMA:
        schema.unexpected(f"{SCHEMA!r}")
    if version.number() != _VERSION:
        version.unexpected(f"version {_VERSION}, all that this pvefi knows")
    for name in node.members():
        if name not in _FIELDS:
            raise UsageError(
                f"{node.file}: expected only the fields {', '.join(_FIELDS)}, found {name!r:.80}",
                _near(name, _FIELDS) or _WAY_OUT,
            )
    for name in _NEEDED:
        if node.member(name).value is None:
            node.member(name).unexpected(_NEEDED_AS[name])
    stays = node.member("stays")
    if not isinstance(stays.value, bool):
        stays.unexpected("true or false")
    purpose, refusals = node.member("purpose"), node.member("refusals")
    services: list[tuple[str, EfiStatus]] = []
    protocols: list[tuple[Guid, EfiStatus]] = []
    for name, member in {} if refusals.value is None else refusals.members().items():
        status = member.made(_error_status, "the name of an error such as EFI_NOT_FOUND")
        if name in SERVICES:
            services.append((name, status))
        else:
            protocols.append((_refused(name, member), status))
    try:
        return Profile(
            name=node.member("name").text(),
            purpose="" if purpose.value is None else purpose.text(),
            services=frozenset(
                one.made(_service, _service_like(one.value)) for one in _list(node, "services")
            ),
            protocols=frozenset(
                one.made(_protocol, f"a protocol that pvefi has ({_known()})")
                for one in _list(node, "protocols")
            ),
            stays=stays.value,
            service_refusals=tuple(sorted(services)),
            protocol_refusals=tuple(sorted(protocols)),
        )
    except ValueError as error:
        raise UsageError(f"{node.file}: expected a profile, found that {error}", _WAY_OUT) from error


def profile_to_json(profile: Profile, evidence: Json = None) -> dict[str, Json]:
    """Return the document that `profile_from_json` takes; `evidence` is for readers, who may be people."""
    refusals: Mapping[str, Json] = {
        **{name: status.efi_name for name, status in profile.service_refusals},
        **{guid_name(guid): status.efi_name for guid, status in profile.protocol_refusals},
    }
    document: dict[str, Json] = {
        "schema": SCHEMA,
        "version": _VERSION,
        "name": profile.name,
        "purpose": profile.purpose,
        "stays": profile.stays,
        "services": [*sorted(profile.services)],
        "protocols": [*sorted(guid_name(guid) for guid in profile.protocols)],
        "refusals": dict(sorted(refusals.items())),
    }
    return document if evidence is None else {**document, "evidence": evidence}


_NEEDED_AS = {
    "name": "a text",
    "stays": "true or false",
    "services": "a list of services",
    "protocols": "a list of protocols",
}


def _list(node: Node, name: str) -> list[Node]:
    return node.member(name).elements()


def _known() -> str:
    return ", ".join(sorted(guid_name(guid) for guid in PROTOCOLS))


def _near(found: Json, known: Iterable[str]) -> str:
    """Return the question whether the known name that `found` is most like is meant; empty for none."""
    close = difflib.get_close_matches(found, list(known), 1) if isinstance(found, str) else []
    return f"did you mean {close[0]}?" if close else ""


def _service_like(found: Json) -> str:
    near = _near(found, SERVICES)
    return f"the name of a service ({near})" if near else "the name of a service"


def _service(name: str) -> str:
    if name not in SERVICES:
        raise ValueError(name)
    return name


def _guid(name: str) -> Guid:
    """Return the GUID of this name, or that is this text; ValueError."""
    by_name = {known: guid for guid, known in GUID_NAMES.items()}
    return by_name[name] if name in by_name else Guid.parse(name)


def _protocol(name: str) -> Guid:
    if (guid := _guid(name)) not in PROTOCOLS:
        raise ValueError(name)
    return guid


def _refused(name: str, member: Node) -> Guid:
    """Return the protocol that a refusal is for; it may be one that no environment has."""
    try:
        return _guid(name)
    except ValueError:
        member.unexpected("a service, a protocol or a GUID as its name")


def _error_status(name: str) -> EfiStatus:
    status = EfiStatus.__members__.get(name.removeprefix("EFI_")) if name.startswith("EFI_") else None
    if status is None or not status.is_error:
        raise ValueError(name)
    return status
