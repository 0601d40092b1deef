# SPDX-License-Identifier: GPL-2.0-or-later
"""xl itself judges what pvefi reads in xl's configurations: both take the same texts, and refuse the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pvefi.errors import UsageError
from pvefi.machines.xen.xl_config import DomainConfig, parse
from tests.machines.xen.test_xl_config import (
    test_a_configuration_is_read_as_xl_reads_it as accepted,
)
from tests.machines.xen.test_xl_config import (
    test_what_xl_does_not_take_is_told_with_its_line as refused,
)
from xen_jobs import Dom0

COMPLAINTS = ("syntax", "lexical", "Failed to parse", "can't add")
OCTAL = r'a = "\101"'
"""What xl takes and pvefi refuses: escapes by number."""


def texts_of(test: Any) -> list[str]:
    (mark,) = [mark for mark in test.pytestmark if mark.name == "parametrize"]
    return [row[0] for row in mark.args[1]]


def told_by_xl(dom0: Dom0, texts: list[str]) -> list[tuple[str, str]]:
    """Return for each text what `xl create -n` writes to its output and to its errors."""
    head = 'type = "pvh"\nkernel = "/agent.py"\nmemory = 64\n'
    for number, text in enumerate(texts):
        (dom0.folder / f"{number}.cfg").write_text(f'{head}{text}\nname = "n"\n')
    command = "cd /host && for n in $(seq 0 {}); do xl create -n $n.cfg >$n.out 2>$n.err; done; true"
    dom0.done(command.format(len(texts) - 1))
    return [
        ((dom0.folder / f"{number}.out").read_text(), (dom0.folder / f"{number}.err").read_text())
        for number in range(len(texts))
    ]


def takes(text: str) -> bool:
    try:
        parse(text, Path("x.cfg"))
    except UsageError:
        return False
    return True


def test_xl_takes_and_refuses_what_pvefi_does(dom0: Dom0) -> None:
    texts = [text for text in (*texts_of(accepted), *texts_of(refused)) if text != OCTAL]
    assert len(texts) > 20
    for text, (_, errors) in zip(texts, told_by_xl(dom0, texts), strict=True):
        assert takes(text) is not any(word in errors for word in COMPLAINTS), (text, errors)


@pytest.mark.parametrize("command_line", ["console=hvc0 quiet", 'a="b c" d\'e', "back\\slash # no comment"])
def test_xl_reads_in_what_pvefi_writes_what_was_meant(dom0: Dom0, command_line: str) -> None:
    config = DomainConfig(
        Path("/agent.py"), "named", memory_size=256 << 20, cpus=3, command_line=command_line
    )
    (dom0.folder / "written.cfg").write_text(config.text())
    told = json.loads(dom0.done("xl create -n -q /host/written.cfg"))
    about = told.get("config", told)
    assert about["c_info"]["name"] == "named"
    assert about["c_info"]["type"] == "pvh"
    assert about["b_info"]["cmdline"] == command_line
    assert (about["b_info"]["max_vcpus"], about["b_info"]["max_memkb"]) == (3, 256 << 10)
