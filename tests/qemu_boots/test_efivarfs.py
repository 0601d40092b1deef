# SPDX-License-Identifier: GPL-2.0-or-later
"""The cases of the kernel's own tests of efivarfs, and what else its files promise, hold in a guest.

The cases are those of Linux tools/testing/selftests/efivarfs, written anew.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from virt.firmware.varstore.edk2 import Edk2VarStore

from pvefi.probe.facts import ProbeFacts
from tests.qemu_boots.conftest import Boots
from tests.qemu_boots.test_entries import ends_well

VENDOR = "210be57c-9849-4fc7-a635-e6382d1aec27"
VALID = ("abc", "dump-type0-11-1-1362436005", "1234", "-", "with space", "a.b,c;d", "x" * 200)
INVALID = (
    *("foo", "foo-bar", "-foo-", "foo" + "-" * 38, f"-{VENDOR}", VENDOR, f"a{VENDOR}", f"a={VENDOR}"),
    *(f"a-{VENDOR.replace('-', '=', count)}" for count in (1, 2, 3, 4)),
    *(f"a-{VENDOR[:-1]}", f"a-{VENDOR}0", f"a-{VENDOR[:-1]}g", f"a-12{VENDOR[:-2]}", f"a-{VENDOR[2:]}12"),
)
FILES = {
    "given/valid": "".join(f"{name}-{VENDOR}\n" for name in VALID).encode(),
    "given/invalid": "".join(f"{name}\n" for name in INVALID).encode(),
}
# $f is a file of the case's own; attributes 7 are non-volatile, for boot and for runtime.
CASES = {
    "create": r"printf '\7\0\0\0\0' >$f && stat -c %s $f && od -An -tx1 $f",
    "create-empty": ": >$f && stat -c %s $f",
    "create-read": "exec 3<>$f && cat <&3 | wc -c",
    "protected": r"printf '\7\0\0\0\0' >$f && rm $f",
    "protected-from-writes": r"printf '\7\0\0\0\0' >$f && printf '\7\0\0\0\1' >$f",
    "delete": r"printf '\7\0\0\0\0' >$f && chattr -i $f && rm $f && ls $f",
    "zero-size-delete": r"printf '\7\0\0\0\0' >$f && chattr -i $f && printf '\7\0\0\0' >$f && ls $f",
    "open-unlink": (
        r"printf '\7\0\0\0\0' >$f && chattr -i $f && exec 3<$f && rm $f && cat <&3 | wc -c && ls $f"
    ),
    "two-at-once": (
        r"printf '\7\0\0\0\0' >$f && chattr -i $f && exec 3>$f 4>$f && printf '\7\0\0\0one' >&3 && "
        r"printf '\7\0\0\0four' >&4 && tail -c +5 $f"
    ),
    "append": (
        r"printf '\7\0\0\0one' >$f && chattr -i $f && printf '\107\0\0\0, two' >$f && "
        r"stat -c %s $f && tail -c +5 $f"
    ),
    "shorter": r"printf '\7\0\0\0longer' >$f && chattr -i $f && printf '\7\0\0\0s' >$f && tail -c +5 $f",
    "large": "{ printf '\\7\\0\\0\\0'; yes | head -c 4000; } >/tmp/l && cat /tmp/l >$f && cmp /tmp/l $f",
    "attributes-only": r"printf '\7\0\0\0' >$f",
    "cut-attributes": r"printf '\7\0' >$f",
    "no-attributes": r"printf '\0\0\0\0value' >$f",
    "unknown-attributes": r"printf '\7\1\0\0value' >$f",
    "volatile": r"printf '\6\0\0\0value' >$f",
    "without-boot-access": r"printf '\5\0\0\0value' >$f",
    "without-runtime-access": r"printf '\3\0\0\0value' >$f",
}
SCRIPT = {
    "exclusive": "grep -c ' efivarfs rw' /proc/mounts",
    **{name: f"f=$efivars/Case-{name}-{VENDOR}\n{body}" for name, body in CASES.items()},
    "valid": (
        r"while IFS= read -r name; do printf '\7\0\0\0\0' >$efivars/$name || echo $name; done <given/valid"
    ),
    "invalid": r"while IFS= read -r name; do ( : >$efivars/$name ) && echo $name; done <given/invalid; true",
    "many": (
        rf"for n in $(seq 100); do printf '\7\0\0\0%s' $n >$efivars/Many$n-{VENDOR}; done && "
        r"ls $efivars | grep -c ^Many && "
        rf"for n in $(seq 50); do chattr -i $efivars/Many$n-{VENDOR} && rm $efivars/Many$n-{VENDOR}; done && "
        rf"ls $efivars | grep -c ^Many; tail -c +5 $efivars/Many77-{VENDOR}"
    ),
    "full": (
        r"for n in $(seq 12); do { printf '\7\0\0\0'; yes $n | head -c 30000; } >/tmp/l; "
        rf"cat /tmp/l >$efivars/Full$n-{VENDOR} || break; cmp /tmp/l $efivars/Full$n-{VENDOR}; done; echo $n"
    ),
    "room-again": (
        rf"for n in 3 5; do chattr -i $efivars/Full$n-{VENDOR}; rm $efivars/Full$n-{VENDOR}; done; "
        rf"cat /tmp/l >$efivars/Full20-{VENDOR} && cmp /tmp/l $efivars/Full20-{VENDOR}"
    ),
    "emptied": r"cd $efivars; chattr -i Full*; rm Full*; ls | grep -c ^Full; true",
    # A second mount asks the firmware for all names again.
    "names-again": f"umount $efivars && mount -t efivarfs none $efivars && ls $efivars | grep {VENDOR}",
    "value-after-that": f"tail -c +5 $efivars/Case-append-{VENDOR}; lsattr -l $efivars/1234-{VENDOR}",
}
EXPECTED = {
    "exclusive": "1\n",
    "create": "5\n 07 00 00 00 00\n",
    "create-empty": "0\n",
    "create-read": "0\n",
    "open-unlink": "0\n",
    "two-at-once": "four",
    "append": "12\none, two",
    "shorter": "s",
    "large": "",
    "valid": "",
    "invalid": "",
    "many": "100\n50\n77",
    "full": "9\n",
    "room-again": "",
    "emptied": "0\n",
    "value-after-that": f"one, two/sys/firmware/efi/efivars/1234-{VENDOR} Immutable\n",
}
ERRORS = {
    **dict.fromkeys(("protected", "protected-from-writes"), "Operation not permitted"),
    "full": "No space left on device",
    **dict.fromkeys(("delete", "zero-size-delete", "open-unlink"), "No such file or directory"),
}
DIFFERENT = {"full", "room-again"}
"""OVMF clears away what is deleted only before ExitBootServices (edk2, "At runtime, no reclaim")."""
REFUSED = {
    *("attributes-only", "cut-attributes", "no-attributes", "unknown-attributes"),
    *("volatile", "without-boot-access", "without-runtime-access"),
}
LEFT = {
    *(f"Case-{name}" for name in ("append", "create", "large", "protected", "protected-from-writes")),
    *("Case-shorter", "Case-two-at-once", *VALID, *(f"Many{number}" for number in range(51, 101))),
}


@pytest.fixture(scope="module")
def facts(boots: Boots, store: Path) -> ProbeFacts:
    booted = boots("cloud", "script,log", programs=("chattr",), script=SCRIPT, files=FILES, variables=store)
    return ends_well(booted)


def test_every_case_ends_as_the_kernel_has_it(facts: ProbeFacts) -> None:
    assert list(facts.script) == list(SCRIPT)
    for name, expected in EXPECTED.items():
        assert facts.script[name].output.decode() == expected, name
    for name, expected in ERRORS.items():
        assert expected in facts.script[name].error.decode(), name
    assert {name for name, command in facts.script.items() if command.status} == REFUSED | set(ERRORS) - {
        "full"
    }
    refusals = facts.script["invalid"].error.splitlines()
    assert len(refusals) == len(INVALID)
    assert all(line.endswith(b": Invalid argument") for line in refusals)


def test_what_was_left_is_there_for_a_second_mount_and_for_virt_firmware(
    facts: ProbeFacts, store: Path
) -> None:
    names = facts.script["names-again"].output.decode().splitlines()
    assert sorted(names) == sorted(f"{name}-{VENDOR}" for name in LEFT)
    found = Edk2VarStore(str(store)).get_varlist()
    assert set(found) == LEFT
    assert found["Many77"].data == b"77"
    assert found["Case-large"].data == b"y\n" * 2000
    assert {(str(one.guid), one.attr) for one in found.values()} == {(VENDOR, 7)}


@pytest.mark.full
@pytest.mark.parametrize("kernel", ["cloud", "cloud-6.12"])
def test_every_case_ends_as_it_does_under_ovmf(boots: Boots, tmp_path: Path, kernel: str) -> None:
    ours = ends_well(boots(kernel, "script", programs=("chattr",), script=SCRIPT, files=FILES))
    store = tmp_path / "vars.fd"
    theirs = boots.by_ovmf(kernel, "script", store, programs=("chattr",), script=SCRIPT, files=FILES)
    assert {name for name in SCRIPT if ours.script[name] != theirs.script[name]} == DIFFERENT
    for name in DIFFERENT:
        assert b"No space left on device" in theirs.script[name].error
