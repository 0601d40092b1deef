# SPDX-License-Identifier: GPL-2.0-or-later
"""Profiles that come from files."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from build_docs import DOCS
from pvefi.efi.profiles import PROFILES, Profile
from pvefi.errors import UsageError
from pvefi.layout import Guid
from pvefi.profile_file import find_profile, profile_from_text, profile_to_json, profile_to_text
from pvefi.report.json_node import Node
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.status import EfiStatus

STRANGE = Guid.parse("210be57c-9849-4fc7-a635-e6382d1aec27")
SMALL = Profile(
    "small",
    "for a test",
    frozenset({"GetMemoryMap", "ExitBootServices"}),
    frozenset({guids.LOADED_IMAGE_PROTOCOL}),
    stays=False,
    service_refusals=(("GetVariable", EfiStatus.NOT_FOUND),),
    protocol_refusals=((STRANGE, EfiStatus.UNSUPPORTED), (guids.RNG_PROTOCOL, EfiStatus.UNSUPPORTED)),
)


def document(**fields: Any) -> dict[str, Any]:
    return {**profile_to_json(SMALL), **fields}


def written(folder: Path, value: object) -> Path:
    path = folder / "profile.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


@pytest.mark.parametrize("profile", [*PROFILES.values(), SMALL], ids=lambda profile: profile.name)
def test_a_profile_comes_back_from_its_file_as_it_was(profile: Profile, tmp_path: Path) -> None:
    path = written(tmp_path, profile_to_json(profile, {"anything": [1, None]}))
    found = find_profile(str(path))
    assert (found.name, found.purpose, found.stays) == (profile.name, profile.purpose, profile.stays)
    assert (found.services, found.protocols) == (profile.services, profile.protocols)
    assert dict(found.service_refusals) == dict(profile.service_refusals)
    assert dict(found.protocol_refusals) == dict(profile.protocol_refusals)


def test_a_name_stands_for_a_profile_of_pvefi_s() -> None:
    assert find_profile("minimal") is profile_from_text("minimal") is PROFILES["minimal"]


def test_a_profile_travels_as_text() -> None:
    for profile in (SMALL, PROFILES["linux"]):
        assert profile_from_text(profile_to_text(profile)).services == profile.services
    assert profile_to_text(PROFILES["linux"]) == "linux"
    assert profile_to_text(replace(SMALL, name="linux")) != "linux"


def test_purpose_and_refusals_may_be_left_out(tmp_path: Path) -> None:
    fields = document()
    del fields["purpose"], fields["refusals"]
    found = find_profile(str(written(tmp_path, fields)))
    assert (found.purpose, found.service_refusals, found.protocol_refusals) == ("", (), ())


def test_a_protocol_may_be_given_by_its_guid(tmp_path: Path) -> None:
    fields = document(
        protocols=[str(guids.DEVICE_PATH_PROTOCOL)], refusals={str(STRANGE): "EFI_ACCESS_DENIED"}
    )
    found = find_profile(str(written(tmp_path, fields)))
    assert found.protocols == {guids.DEVICE_PATH_PROTOCOL}
    assert found.protocol_refusals == ((STRANGE, EfiStatus.ACCESS_DENIED),)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "found an empty file"),
        ("services:", "expected a JSON document, found b'services:'"),
        ("[]", "expected an object, found []"),
        ({}, "schema: expected 'pvefi/profile', found nothing"),
        (document(version=2), "version: expected version 1, all that this pvefi knows, found 2"),
        (document(version="1"), "version: expected a whole number, found '1'"),
        (document(servces=[]), "found 'servces' (did you mean services?)"),
        (document(name=None), "name: expected a text, found nothing"),
        (document(name=""), "a profile's name has 1 to 64 printable characters"),
        (document(name="\x1b[2J"), "a profile's name has 1 to 64 printable characters"),
        (document(purpose="x" * 401), "a profile's purpose has at most 400"),
        (document(stays=1), "stays: expected true or false, found 1"),
        (document(services="GetTime"), "services: expected a list, found 'GetTime'"),
        (
            document(services=["GetTime", "GetTimes"]),
            "services[1]: expected the name of a service (did you mean GetTime?)",
        ),
        (document(protocols=["TCG2_PROTOCOL"]), "protocols[0]: expected a protocol that pvefi has (DEVICE_"),
        (document(protocols=["1234"]), "protocols[0]: expected a protocol that pvefi has"),
        (document(refusals=[]), "refusals: expected an object, found []"),
        (document(refusals={"GetTime": "EFI_GONE"}), "refusals.GetTime: expected the name of an error"),
        (document(refusals={"GetTime": "NOT_FOUND"}), "refusals.GetTime: expected the name of an error"),
        (document(refusals={"GetTime": "EFI_SUCCESS"}), "refusals.GetTime: expected the name of an error"),
        (document(refusals={"GetTimes": "EFI_NOT_FOUND"}), "refusals.GetTimes: expected a service, a proto"),
        (document(refusals={"GetMemoryMap": "EFI_NOT_FOUND"}), "GetMemoryMap is offered, and refused"),
    ],
    ids=lambda value: re.sub(r"\W+", "-", value)[:40] if isinstance(value, str) else "",
)
def test_a_defect_is_one_line_with_its_place(value: object, words: str, tmp_path: Path) -> None:
    path = written(tmp_path, value)
    with pytest.raises(UsageError) as error:
        find_profile(str(path))
    text = str(error.value)
    assert text.startswith(f"{path}: ")
    assert words in text
    assert text.isprintable()


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    with path.open("wb") as file:
        file.truncate((4 << 20) + 1)
    with pytest.raises(UsageError, match="found more than 4 MiB"):
        find_profile(str(path))


def test_what_is_neither_a_name_nor_a_file_is_refused_with_the_names(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean minimal"):
        find_profile("minimall")
    with pytest.raises(UsageError, match=r"expected a profile \(minimal, linux\) or the file of one"):
        find_profile(str(tmp_path / "nothing"))
    with pytest.raises(UsageError, match="expected the file of a profile, found a directory"):
        find_profile(str(tmp_path))


def test_the_page_names_every_field() -> None:
    page = (DOCS / "profile-format.md").read_text(encoding="utf-8")
    assert not [name for name in profile_to_json(SMALL, {}) if f"`{name}`" not in page]


def test_the_page_s_example_is_a_profile() -> None:
    page = (DOCS / "profile-format.md").read_text(encoding="utf-8")
    example = page.partition("```json\n")[2].partition("```")[0]
    found = profile_from_text(example)
    assert found.service_refusals == (("GetVariable", EfiStatus.NOT_FOUND),)


def test_an_error_in_a_refusal_s_place_is_of_the_document(tmp_path: Path) -> None:
    assert Node(document(), "x").member("refusals").members().keys() == {
        "GetVariable",
        "RNG_PROTOCOL",
        str(STRANGE),
    }
