# SPDX-License-Identifier: GPL-2.0-or-later
"""The same signed writes under pvefi and under OVMF with Secure Boot: same statuses, outputs, store."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from pvefi.layout import Guid
from pvefi.spec.uefi.guids import EDK2_CERT_DB
from pvefi.spec.uefi.status import EfiStatus
from tests.build.signed_update import time
from tests.variables_against_ovmf.batch import walked
from tests.variables_against_ovmf.conftest import NewStore
from tests.variables_against_ovmf.differences import SEVERAL
from tests.variables_against_ovmf.hosts import OvmfHost, Pvefi, run_both, run_to_the_end
from tests.variables_against_ovmf.known import Known
from tests.variables_against_ovmf.known_signed import known_signed
from tests.variables_against_ovmf.machine import VENDORS
from tests.variables_against_ovmf.model import Key, text
from tests.variables_against_ovmf.operations import GetVariable, Operation, Outcome, SetVariable, Walk, wide
from tests.variables_against_ovmf.signed import KEYS, LASTING, PRIVATE, Writer, update
from tests.variables_against_ovmf.stores import Stored, read_by_pvefi, read_by_virt_firmware

WRITES = 150
SECURE, PLAIN = "OVMF_CODE_4M.secboot.fd", "OVMF_CODE_4M.fd"
NO_KEK = "databases without a KEK"
MINE = {VENDORS[0], *KEYS.values()}

RUNS = [
    pytest.param((SECURE, 1), id="secboot-seed-1"),
    *(
        pytest.param((code, number), id=f"{'plain' if code is PLAIN else 'secboot'}-seed-{number}")
        for code, number in ((PLAIN, 2), (SECURE, 3), (PLAIN, 4), (SECURE, 5), (PLAIN, 6))
    ),
]
RUNS = [RUNS[0], *(pytest.param(*one.values, id=one.id, marks=pytest.mark.full) for one in RUNS[1:])]


@dataclass(frozen=True)
class Ran:
    """What the two made of one list: first what is known to differ, then random writes."""

    known: tuple[Known, ...]
    operations: list[Operation]
    ours: list[Outcome]
    theirs: list[Outcome]
    our_store: Path
    their_store: Path

    @property
    def start(self) -> int:
        """Where the random ones begin."""
        return sum(len(one.operations) for one in self.known)


@pytest.fixture(scope="module", params=RUNS)
def ran(
    request: pytest.FixtureRequest,
    pvefi: Callable[[str], Pvefi],
    ovmf: Callable[[str], OvmfHost],
    new_store: NewStore,
) -> Ran:
    code, number = request.param
    our_host, their_host = pvefi("embedded"), ovmf(code)
    writer = Writer(random.Random(number))
    known = known_signed(writer.people)
    operations = [operation for one in known for operation in one.operations]
    operations += writer.operations(WRITES)
    return Ran(known, operations, *run_both(our_host, their_host, operations, new_store, "all"))


def rule_for(operation: Operation, ours: EfiStatus, theirs: EfiStatus, exists: bool, has_kek: bool) -> str:
    """Return the name of the rule that knows why the two statuses differ; empty for none."""
    if not isinstance(operation, SetVariable) or operation.name is None:
        return ""
    name = text(operation.name).decode("utf-16-le")
    if (ours, theirs) == (EfiStatus.SECURITY_VIOLATION, EfiStatus.NOT_FOUND) and name in ("db", "dbx"):
        return "" if has_kek else NO_KEK
    if (ours, theirs) == (EfiStatus.INVALID_PARAMETER, EfiStatus.SECURITY_VIOLATION) and exists:
        # Other attributes than the variable has, and no descriptor.
        return SEVERAL
    return ""


def seen(outcome: Outcome) -> set[Key]:
    """Return which of the written variables a Walk has found."""
    written = {wide(name)[:-2] for name in (*KEYS, *PRIVATE)}
    return {key for key in walked(outcome) if key[1] in MINE and key[0] in written}


def test_signed_writes_come_to_the_same(ran: Ran) -> None:
    there: set[bytes | None] = set()
    different: list[str] = []
    for number in range(ran.start, len(ran.operations)):
        operation, ours, theirs = ran.operations[number], ran.ours[number], ran.theirs[number]
        if isinstance(operation, GetVariable):
            (there.add if ours.status is EfiStatus.SUCCESS else there.discard)(operation.name)
        if isinstance(operation, Walk):
            mine, other = seen(ours), seen(theirs)
            if mine != other:
                different.append(f"operation {number}: {operation}: pvefi: {mine}, OVMF: {other}")
            continue
        same = ours == theirs
        rule = rule_for(
            operation, ours.status, theirs.status, operation.__dict__["name"] in there, wide("KEK") in there
        )
        if not same and not rule:
            different.append(f"operation {number}: {operation}: pvefi: {ours}, OVMF: {theirs}")
    assert not different, "\n".join(different)
    statuses = {one.status for one in ran.ours[ran.start :]}
    assert {EfiStatus.SUCCESS, EfiStatus.SECURITY_VIOLATION, EfiStatus.NOT_FOUND} <= statuses


def test_what_is_known_to_differ_does_and_not_otherwise(ran: Ran) -> None:
    at = 0
    for known in ran.known:
        end = at + len(known.operations)
        found = [
            " ".join(one.status.name or "" for one in outcomes[at:end]) for outcomes in (ran.ours, ran.theirs)
        ]
        assert found == [known.ours, known.theirs], known.title
        at = end


def creators(stored: Stored) -> dict[tuple[bytes, Guid], bytes]:
    """Return what certdb says of who made each variable: edk2 SecurityPkg/Library/AuthVariableLib."""
    ((_, data, _),) = [one for (name, _), one in stored.items() if name == wide("certdb")[:-2]]
    (size,) = struct.unpack_from("<I", data)
    assert size == len(data)
    found, at = {}, 4
    while at < size:
        vendor = Guid(data[at : at + 16])
        node, name_size, hash_size = struct.unpack_from("<III", data, at + 16)
        end = at + 28 + 2 * name_size
        assert node == end + hash_size - at
        found[data[at + 28 : end], vendor] = data[end : end + hash_size]
        at += node
    return found


def test_the_final_stores_hold_the_same_and_know_the_same_creators(
    ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mine(vendor: Guid) -> bool:
        return vendor in MINE

    def keys_and_private(stored: Stored) -> Stored:
        return {key: one for key, one in stored.items() if key[0] in names}

    names = {wide(name)[:-2] for name in (*KEYS, *PRIVATE)}
    ours = keys_and_private(read_by_pvefi(ran.our_store, mine))
    assert ours
    assert keys_and_private(read_by_pvefi(ran.their_store, mine)) == ours
    assert keys_and_private(read_by_virt_firmware(ran.their_store, monkeypatch, mine)) == ours
    assert keys_and_private(read_by_virt_firmware(ran.our_store, monkeypatch, mine)) == ours
    known = [
        {
            key: one
            for key, one in creators(read_by_pvefi(store, lambda vendor: vendor == EDK2_CERT_DB)).items()
            if key[1] == VENDORS[0]
        }
        for store in (ran.our_store, ran.their_store)
    ]
    assert known[0] == known[1]


@pytest.mark.parametrize("first", ["pvefi", pytest.param("ovmf", marks=pytest.mark.full)])
def test_who_made_a_private_variable_under_the_one_may_change_it_under_the_other(
    first: str, pvefi: Callable[[str], Pvefi], ovmf: Callable[[str], OvmfHost], new_store: NewStore
) -> None:
    hosts: list[Pvefi | OvmfHost] = [pvefi("embedded"), ovmf(SECURE)]
    people, store = Writer(random.Random()).people, new_store("shared.fd")
    if first == "ovmf":
        hosts.reverse()
    second = 0

    def write(name: str, value: bytes, signer: str) -> SetVariable:
        nonlocal second
        second += 1
        data = update(name, VENDORS[0], LASTING, value, people[signer], time(second))
        return SetVariable(wide(name), VENDORS[0], LASTING, data)

    for round_number, host in enumerate((*hosts, hosts[0])):
        value = bytes([round_number])
        operations = [
            write("Single", value, "A"),
            write("Single", b"no", "B"),
            write("Chained", value, "C"),
            write("Chained", b"no", "D"),
            write("Chained", b"no", "A"),
            GetVariable(wide("Single"), VENDORS[0], 8, 8),
        ]
        if round_number == 2:
            operations += [write("Single", b"", "A"), write("Single", b"x", "B")]
        outcomes = run_to_the_end(host, operations, store)
        found = " ".join(one.status.name or "" for one in outcomes)
        wrong = "SECURITY_VIOLATION"
        expected = f"SUCCESS {wrong} SUCCESS {wrong} {wrong} SUCCESS"
        assert found == expected + (" SUCCESS SUCCESS" if round_number == 2 else "")
        assert outcomes[5].outputs[2] == value.ljust(8, b"\x5a")
