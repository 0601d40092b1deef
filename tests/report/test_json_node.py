# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pvefi.errors import UsageError
from pvefi.report.json_node import Node, load_json


def message(call: Callable[[], object]) -> str:
    with pytest.raises(UsageError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_value_that_is_not_as_expected_is_told_with_its_place() -> None:
    node = Node({"handoff": {"registers": {"rax": "x"}, "tables": [{"address": -1}]}}, "a.json")
    handoff = node.member("handoff")
    told = message(handoff.member("registers").member("rax").word)
    assert told == "a.json: handoff.registers.rax: expected a whole number, found 'x'"
    told = message(handoff.member("tables").elements()[0].member("address").word)
    assert told == "a.json: handoff.tables[0].address: expected a number of 64 bits, found -1"


@pytest.mark.parametrize("value", [None, True, 1.5, "1", [], {}])
def test_only_a_whole_number_is_a_number(value: object) -> None:
    message(Node(value, "a").number)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [-1, 1 << 64, 10**30])
def test_a_word_has_64_bits(value: int) -> None:
    message(Node(value, "a").word)


def test_a_member_that_is_not_there_is_nothing() -> None:
    assert message(Node({}, "a").member("x").text) == "a: x: expected a text, found nothing"
    message(lambda: Node([], "a").member("x"))
    message(Node({}, "a").elements)
    message(Node([], "a").members)
    message(Node([], "a").scalar)


def test_a_long_value_is_cut() -> None:
    assert len(message(Node("x" * 10_000, "a").number)) < 120


def test_what_cannot_be_made_of_a_text_is_told() -> None:
    told = message(lambda: Node("zz", "a").made(bytes.fromhex, "bytes in hexadecimal"))
    assert told == "a: expected bytes in hexadecimal, found 'zz'"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "found an empty file"),
        (b"  \n", "found an empty file"),
        (b"MZ\x90\x00\x1b[31m", r"found b'MZ\x90\x00\x1b[31m'"),
        (b'{"schema": "pvefi/boot", ', "cut short in line 1"),
        (b'{"a": 1,\n "b": "tex', "cut short in line 2"),
        (b'{"schema": "pvefi/trace"}\n{"index": 1}\n', "found several, as a trace has"),
        (b"[" * 100_000, "found b'[[["),
        (b'{"a": NaN}', "found b'{"),
        (b'{"a": ' + b"9" * 5000 + b"}", "found b'{"),
        (b"\xff\xfe\x00", "found b'"),
    ],
)
def test_a_file_that_is_no_json_is_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    told = message(lambda: load_json(path, "pvefi boot --json writes one"))
    assert words in told
    assert told.endswith("(pvefi boot --json writes one)")


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    assert "No such file" in message(lambda: load_json(tmp_path / "none", ""))
    assert "directory" in message(lambda: load_json(tmp_path, ""))


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with path.open("wb") as file:
        file.truncate((1 << 20) + 1)
    assert "found more than 1 MiB" in message(lambda: load_json(path, "", 1 << 20))
