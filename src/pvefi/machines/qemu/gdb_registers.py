# SPDX-License-Identifier: GPL-2.0-or-later
"""Where each register stands in the debugger's answer, by the target description that QEMU gives.

Source: the GDB manual, "Target Description Format": registers are numbered in the order of the documents that
the main one includes, but for those that name their number, and the answer to `g` has them in the order of
their numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pvefi.errors import MachineError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["Register", "registers_in", "registers_of"]

_MAIN = "target.xml"
_INCLUDE = "{http://www.w3.org/2001/XInclude}include"
_NAMESPACE = 'xmlns:xi="http://www.w3.org/2001/XInclude"'
_INCLUDES_AT_MOST = 32
_NAMES = {"eflags": "rflags"}
"""Names that differ from ours."""
_UNAVAILABLE = b"x"


@dataclass(frozen=True)
class Register:
    """A register in the debugger's answer; `offset` and `size` are in bytes."""

    name: str
    offset: int
    size: int


def registers_in(document: Callable[[str], str]) -> tuple[Register, ...]:
    """Return the registers that the target description names; `document` fetches one of its documents."""
    numbered: dict[int, tuple[str, int]] = {}
    following = 0
    for element in _elements(document):
        following = _number(element, "regnum", following)
        numbered[following] = element.get("name", ""), _number(element, "bitsize", 0) // 8
        following += 1
    found, offset = [], 0
    for _, (name, size) in sorted(numbered.items()):
        found.append(Register(_NAMES.get(name, name), offset, size))
        offset += size
    if not any(register.name == "rip" for register in found):
        raise MachineError("expected a target description of an x86-64 CPU, found none in QEMU's debugger")
    return tuple(found)


def _number(element: Element, name: str, otherwise: int) -> int:
    text = element.get(name, str(otherwise))
    if not text.isdecimal():
        raise MachineError(f"expected a number as {name} in QEMU's target description, found {text!r}")
    return int(text)


def _elements(document: Callable[[str], str]) -> Iterator[Element]:
    """Yield every `reg` element, in the order of the documents."""
    from xml.etree import ElementTree

    pending = [_MAIN]
    for _ in range(_INCLUDES_AT_MOST):
        if not pending:
            return
        name = pending.pop(0)
        text = document(name).replace("<xi:include ", f"<xi:include {_NAMESPACE} ")  # QEMU declares none
        try:
            root = ElementTree.fromstring(text)  # noqa: S314  QEMU's own text, not the guest's
        except ElementTree.ParseError as error:
            raise MachineError(f"QEMU's target description {name} cannot be read: {error}") from error
        yield from root.iter("reg")
        pending[:0] = [element.get("href", "") for element in root.iter(_INCLUDE)]


def registers_of(layout: tuple[Register, ...], answer: bytes) -> Mapping[str, int]:
    """Return the values in an answer to `g`, in hexadecimal; registers that it lacks are left out."""
    values = {}
    for register in layout:
        digits = answer[2 * register.offset : 2 * (register.offset + register.size)]
        if len(digits) < 2 * register.size or digits.startswith(_UNAVAILABLE):
            continue
        try:
            values[register.name] = int.from_bytes(bytes.fromhex(digits.decode("ascii")), "little")
        except ValueError as error:
            raise MachineError(f"expected {register.name} in QEMU's answer, found {digits[:32]!r}") from error
    if "rip" not in values:
        raise MachineError(f"expected registers from QEMU's debugger, found {answer[:32]!r}")
    return values
