# SPDX-License-Identifier: GPL-2.0-or-later
"""Random writes of authenticated variables: keys, databases, private ones; rightly signed, and not.

The keys are everybody's, so that this is one sequence, in which a model as simple as can be says who has the
right to what. It begins in setup mode.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from pvefi.layout import Guid
from pvefi.spec.uefi.guids import GLOBAL_VARIABLE, IMAGE_SECURITY_DATABASE
from tests.build.signed_update import CERT_SHA256, Identity, certificate_of, identity, signature_list, time
from tests.build.signed_update import update as signed_update
from tests.variables_against_ovmf.machine import VENDORS
from tests.variables_against_ovmf.model import APPEND, BS, NV, RT, TIME_BASED
from tests.variables_against_ovmf.operations import GetVariable, Operation, SetVariable, Walk, wide

LASTING = NV | BS | RT | TIME_BASED
PRIVATE = {"P": LASTING, "Q": NV | BS | TIME_BASED, "W": BS | RT | TIME_BASED}
"""Private authenticated variables: one of each kind."""
KEYS = {
    "PK": GLOBAL_VARIABLE,
    "KEK": GLOBAL_VARIABLE,
    "db": IMAGE_SECURITY_DATABASE,
    "dbx": IMAGE_SECURITY_DATABASE,
}
_ROOM = 8192


def update(
    name: str, vendor: Guid, attributes: int, value: bytes, signer: Identity | None, timestamp: bytes
) -> bytes:
    """Return a write as OVMF takes it: a SignedData without a ContentInfo around it."""
    return signed_update(name, vendor, attributes, value, signer, timestamp, wrapped=False)


def people() -> dict[str, Identity]:
    """Return who signs, by name; two of them have their certificates from one authority."""
    authority = identity("Authority", authority=True, number=100)
    single = ("PK1", "PK2", "KEK1", "KEK2", "A", "B")
    found = {name: identity(name, number=number) for number, name in enumerate(single)}
    return found | {
        name: identity(name, authority, number=200 + number) for number, name in enumerate(("C", "D"))
    }


@dataclass
class Writer:
    """Draws writes; what it takes to be there is what they should have left."""

    dice: random.Random
    people: dict[str, Identity] = field(default_factory=people)
    owners: dict[str, str] = field(default_factory=dict)
    clock: int = 0

    def operations(self, count: int) -> list[Operation]:
        """Return `count` writes, and reading what each may have changed."""
        made: list[Operation] = []
        for _ in range(count):
            name = self.dice.choice([*KEYS, *PRIVATE, *PRIVATE])
            made += [self._write(name), self._read(name)]
            if name == "PK":
                made.append(GetVariable(wide("SetupMode"), GLOBAL_VARIABLE, 1, 1))
        return [*made, Walk()]

    def _vendor(self, name: str) -> Guid:
        return KEYS.get(name, VENDORS[0])

    def _read(self, name: str) -> Operation:
        return GetVariable(wide(name), self._vendor(name), _ROOM, _ROOM)

    def _write(self, name: str) -> Operation:
        attributes = PRIVATE.get(name, LASTING)
        # A variable that an append makes has no timestamp under OVMF, which is among what is known to differ.
        appends = name != "PK" and name in self.owners and self.dice.random() < 0.25
        # What OVMF says when there is no PK to delete is among what is known to differ.
        may_delete = not appends and (name != "PK" or name in self.owners)
        deletes = may_delete and self.dice.random() < 0.25
        value = b"" if deletes else self._value(name)
        signer = self._right(name, value)
        self.clock += 1
        attributes |= APPEND if appends else 0
        if not deletes and self.dice.random() < 0.4:
            return self._wrong(name, attributes, value, signer)
        data = update(name, self._vendor(name), attributes, value, self.people[signer], time(self.clock))
        self._note(name, value, signer, deletes=deletes)
        return SetVariable(wide(name), self._vendor(name), attributes, data)

    def _note(self, name: str, value: bytes, signer: str, *, deletes: bool) -> None:
        if deletes:
            self.owners.pop(name, None)
        elif name == "PK":
            self.owners["PK"] = next(one for one in ("PK1", "PK2") if self.people[one].der in value)
        elif name == "KEK":
            self.owners["KEK"] = next(one for one in ("KEK1", "KEK2") if self.people[one].der in value)
        elif value:
            self.owners.setdefault(name, signer)

    def _right(self, name: str, value: bytes) -> str:
        """Return who may write the variable."""
        if name in PRIVATE:
            return self.owners.get(name) or self.dice.choice("ABCD")
        if name == "PK":  # the first is its own
            new = next((one for one in ("PK1", "PK2") if self.people[one].der in value), "PK1")
            return self.owners.get("PK", new)
        key = self.owners.get("PK", "PK1")
        return key if name == "KEK" else self.owners.get("KEK", key)

    def _value(self, name: str) -> bytes:
        if name in PRIVATE:
            return self.dice.randbytes(self.dice.choice((1, 5, 64, 300)))
        if name in ("PK", "KEK"):
            return signature_list(self.people[f"{name}{self.dice.choice('12')}"].der)
        kept = [bytes([number]) * 32 for number in range(6)]
        return signature_list(*self.dice.sample(kept, self.dice.randint(1, 3)), kind=CERT_SHA256)

    def _wrong(self, name: str, attributes: int, value: bytes, signer: str) -> SetVariable:
        """Return a write that is not to be."""
        vendor = self._vendor(name)
        wrong = self.dice.choice(WRONG)
        if name not in self.owners and wrong in ("older", "signer"):
            wrong = "nobody"  # nothing is wrong with the first write of a variable
        if name in KEYS and "PK" not in self.owners and wrong not in ("plain", "empty", "long"):
            wrong = "short"  # in setup mode nobody looks at the signature, and OVMF not at the time
        if wrong in UNSIGNED:
            attributes = attributes & ~TIME_BASED if wrong == "plain" else attributes
            data = value if wrong == "plain" else b""
        elif wrong in SIGNED_WRONGLY:
            data = self._signed_wrongly(wrong, name, attributes, value, signer)
        else:
            right = update(name, vendor, attributes, value, self.people[signer], time(self.clock))
            data = self._damaged(wrong, right, len(value))
        return SetVariable(wide(name), vendor, attributes, data or None)

    def _signed_wrongly(self, wrong: str, name: str, attributes: int, value: bytes, signer: str) -> bytes:
        """Return a descriptor that is sound, but not for this."""
        by, now = self.people[signer], time(self.clock)
        named, signed_attributes = name, attributes
        match wrong:
            case "signer":
                by = self.people[self.dice.choice([one for one in self.people if one != signer])]
            case "older":
                now = time(0, year=2030)
            case "padded":
                now = time(self.clock, nanosecond=1)
            case "time zone":
                now = time(self.clock, time_zone=60)
            case "name":
                named = f"{name}x"
            case "attributes":
                signed_attributes = attributes ^ RT
        nobody = None if wrong == "nobody" else by
        return update(named, self._vendor(name), signed_attributes, value, nobody, now)

    def _damaged(self, wrong: str, data: bytes, value_size: int) -> bytes:
        """Return a right write with something in it that is not."""
        now, end = data[:16], len(data) - value_size
        match wrong:
            case "value":
                return data[:-1] + bytes([data[-1] ^ 1])
            case "trailing":
                return data + b"\0"
            case "signature":
                at = end - self.dice.randint(1, 200)
                return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]
            case "kind":
                return now + certificate_of(data[40:end], type_=0x0EF0) + data[end:]
            case "short":
                return data[: self.dice.choice((0, 1, 16, 39, 40, 41))]
        return now + certificate_of(b"", length=0x10000) + data[end:]  # longer than it is


SIGNED_WRONGLY = ("signer", "nobody", "older", "padded", "time zone", "name", "attributes")
DAMAGED = ("value", "trailing", "signature", "kind", "short", "long")
UNSIGNED = ("plain", "empty")
WRONG = (*SIGNED_WRONGLY, *DAMAGED, *UNSIGNED)
"""What is wrong with a write."""
