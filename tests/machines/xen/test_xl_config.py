# SPDX-License-Identifier: GPL-2.0-or-later
"""Configurations are read as xl reads them, and written so that xl reads what was meant.

Each line of the first table was shown to xl 4.17 too (xl create -n), which reads the same or refuses.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvefi.errors import UsageError
from pvefi.machines.xen.xl_config import DomainConfig, Value, XlText, parse, quoted

FILE = Path("my.cfg")


def read(text: str) -> dict[str, Value]:
    return dict(parse(text, FILE).settings)


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("", {}),
        ("\n\n# only a comment", {}),
        ('name = "a"', {"name": "a"}),
        ("name='a' # why", {"name": "a"}),
        ("memory = 128; vcpus=2 ;", {"memory": "128", "vcpus": "2"}),
        ("memory = 0x80", {"memory": "0x80"}),
        ('a = "1"\na = "2"', {"a": "2"}),
        ('disk = [ "x", \'y\',\n  # in between\n "z", ]\n', {"disk": ("x", "y", "z")}),
        ("vif = [ ]", {"vif": ()}),
        ("vif = [\n\n'' ]", {"vif": ("",)}),
        ('vcpus_pin = [ [ "1", 2 ], [] ]', {"vcpus_pin": (("1", "2"), ())}),
        ('disk = ["a"]\ndisk += ["b"]', {"disk": ("a", "b")}),
        ('extra = "a"\nextra += " b"', {"extra": "a b"}),
        ('disk += ["b"]', {"disk": ("b",)}),
        (r'a = "\"\\\n\t"', {"a": '"\\\n\t'}),
        (r"a = '\'#;'", {"a": "'#;"}),
        ("a.b_1 = 5", {"a.b_1": "5"}),
    ],
)
def test_a_configuration_is_read_as_xl_reads_it(text: str, settings: dict[str, Value]) -> None:
    assert read(text) == settings


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("name", "my.cfg:1: expected = behind name"),
        ("name = yes", "my.cfg:1: expected a string in quotes, a number or a list, found 'yes'"),
        ('\n\nname = "a', "my.cfg:3: expected a name, a number, a string or a list"),
        ('name = "a" "b"', "my.cfg:1: expected the end of the line, found '\"b\"'"),
        ('disk = ["a" "b"]', "my.cfg:1: expected , or ] in a list"),
        ('disk = ["a",\n"b"', "my.cfg:2: expected , or ] in a list"),
        ("disk = [,]", "my.cfg:1: expected a string in quotes"),
        ('a = "1"\na += ["2"]', "my.cfg:2: expected what is added to be a string or a list as before"),
        (r'a = "\101"', "my.cfg:1: expected an escape that xl understands"),
        ("Name = 1", "my.cfg:1: expected a name"),
        ("memory = 128 +\\\n 128", "my.cfg:1: expected a name"),
        ("= 5", "my.cfg:1: expected NAME = VALUE"),
        ("name = ", "my.cfg:1: expected a string in quotes, a number or a list, found ''"),
    ],
)
def test_what_xl_does_not_take_is_told_with_its_line(text: str, where: str) -> None:
    with pytest.raises(UsageError) as told:
        read(text)
    assert told.value.message.startswith(where)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_every_text_survives_being_quoted(text: str) -> None:
    line = f"a = {quoted(text)}"
    assert "\n" not in line
    assert read(line) == {"a": text}


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert isinstance(parse(text, FILE), XlText)


@pytest.mark.parametrize(("text", "number"), [("5", 5), ("0x10", 16), ("010", 8), ("'12'", 12), ("0", 0)])
def test_numbers_are_those_of_strtoul(text: str, number: int) -> None:
    assert parse(f"memory = {text}", FILE).number("memory") == number


@pytest.mark.parametrize(("text", "found"), [("'many'", "'many'"), ("[5]", "a list"), ("08", "'08'")])
def test_what_is_no_number_is_told(text: str, found: str) -> None:
    with pytest.raises(UsageError, match="expected memory to be") as told:
        parse(f"memory = {text}", FILE).number("memory")
    assert found in told.value.message


def test_what_pvefi_decides_wins_and_all_else_of_the_user_s_stays() -> None:
    base = 'type = "pvh"\nkernel = "theirs"\nmemory = 64\nvif = [ "bridge=x" ]\ndisk = [ "a" ]\nname = "n"'
    config = DomainConfig(
        Path("/t.elf"), "n", memory_size=256 << 20, cpus=4, disks=("b",), base=base, uuid="u"
    )
    assert read(config.text()) == {
        "type": "pvh",
        "name": "n",
        "uuid": "u",
        "kernel": "/t.elf",
        "ramdisk": "",
        "cmdline": "",
        "memory": "256",
        "maxmem": "256",
        "vcpus": "4",
        "maxvcpus": "4",
        "vif": ("bridge=x",),
        "disk": ("a", "b"),
    }
    assert config.text().startswith(base)


def test_two_domains_have_two_uuids() -> None:
    assert DomainConfig(FILE, "a").uuid != DomainConfig(FILE, "a").uuid
