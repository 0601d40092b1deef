# SPDX-License-Identifier: GPL-2.0-or-later
"""Declarations of services: what each annotation makes of the guest's words, and how the trace names it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Annotated, Any, get_type_hints

import pytest

from pvefi.efi import boot, runtime
from pvefi.efi import service as declared
from pvefi.efi.environment import Environment
from pvefi.efi.errors import EfiError
from pvefi.efi.service import (
    BOOLEAN,
    CHAR16_LIMIT,
    TPL,
    UINT8,
    UINT16,
    UINT32,
    UINT64,
    UINTN,
    Arguments,
    Handle,
    InOut,
    Out,
    Pointer,
    Service,
    VarArgs,
    read_char16,
    service,
    services_of,
)
from pvefi.errors import GuestFault
from pvefi.layout import Guid, Scalar
from pvefi.memory import GuestMemory, RamBlock, VirtualMemory
from pvefi.spec.uefi.memory import MemoryType
from pvefi.spec.uefi.status import EFI_STATUS, EfiStatus
from pvefi.spec.uefi.tables import BOOT_SERVICES_SLOTS, RUNTIME_SERVICES_SLOTS
from pvefi.trace.events import Address

SIZE = 0x4_0000
STACK = 0x1000
AT = 0x2000
WILD = 0xDEAD_0000_0000
ONES = (1 << 64) - 1
GUID = Guid.parse("8be4df61-93ca-11d2-aa0d-00e098032b8c")


@pytest.fixture
def memory() -> GuestMemory:
    return GuestMemory([RamBlock(0, memoryview(bytearray(SIZE)))])


def arguments(memory: GuestMemory, *words: int) -> Arguments:
    """Return `words` as the arguments of a call: four in registers, the rest above the home space."""
    a, b, c, d = (*words, 0, 0, 0, 0)[:4]
    stack = b"".join(word.to_bytes(8, "little") for word in words[4:])
    memory.write(STACK + 0x28, stack)
    return Arguments(memory, (a, b, c, d), STACK)


@service("Scalars", "UEFI 2.10 §7.5")
def scalars(
    efi: object,
    native: UINTN,
    quad: UINT64,
    double: UINT32,
    word: UINT16,
    byte: UINT8,
    level: TPL,
    truth: BOOLEAN,
    kind: Annotated[MemoryType, Scalar("I")],
    status: EFI_STATUS,
    image_handle: Handle,
    pointer: Pointer,
) -> None:
    """Take one of each."""


def test_values_are_cut_to_their_width(memory: GuestMemory) -> None:
    found = scalars.decode(arguments(memory, *[ONES] * 11))
    assert found[:6] == [ONES, ONES, 0xFFFF_FFFF, 0xFFFF, 0xFF, ONES]
    assert found[6] is True
    assert found[7:] == [0xFFFF_FFFF, ONES, ONES, ONES]
    assert [type(value) for value in found[7:]] == [MemoryType, EfiStatus, Address, Address]


def test_a_boolean_is_one_byte_of_its_word(memory: GuestMemory) -> None:
    """UEFI 2.10 §2.3.1: BOOLEAN is 1 byte; what else is in the register is the compiler's garbage."""
    words = [0] * 11
    for word, truth in [(0, False), (1, True), (2, True), (0x100, False), (0x1FF, True)]:
        words[6] = word
        assert scalars.decode(arguments(memory, *words))[6] is truth


def test_enumerations_are_open_and_cut_to_their_width(memory: GuestMemory) -> None:
    words = [0] * 11
    words[7] = 0xAAAA_AAAA_0000_0007
    assert scalars.decode(arguments(memory, *words))[7] is MemoryType.CONVENTIONAL
    words[7] = 0x8000_0001
    kind = scalars.decode(arguments(memory, *words))[7]
    assert (kind, kind.known) == (0x8000_0001, False)


def test_handles_and_pointers_may_be_null(memory: GuestMemory) -> None:
    assert scalars.decode(arguments(memory, *[0] * 11))[-2:] == [0, 0]


def test_the_fifth_argument_stands_above_the_return_address_and_the_home_space(memory: GuestMemory) -> None:
    words = arguments(memory, 1, 2, 3, 4, 5, 6)
    assert [words.word(index) for index in range(6)] == [1, 2, 3, 4, 5, 6]
    assert memory.read(STACK + 0x28, 8) == (5).to_bytes(8, "little")


@pytest.mark.parametrize("stack", [WILD, SIZE - 0x28, SIZE - 0x2F, ONES, ONES - 0x28])
def test_a_wild_stack_faults_at_the_fifth_argument_only(memory: GuestMemory, stack: int) -> None:
    words = Arguments(memory, (1, 2, 3, 4), stack)
    assert words.word(3) == 4
    with pytest.raises(GuestFault, match="not all RAM"):
        words.word(4)


# ---------------------------------------------------------------- pointers


@service("Pointers", "UEFI 2.10 §7.5")
def pointers(
    efi: object,
    variable_name: str,
    vendor_guid: Guid,
    out: Out[UINT32],
    in_out: InOut[UINTN],
) -> None:
    """Take pointers that may not be NULL."""


@service("Optional", "UEFI 2.10 §7.5")
def optional(
    efi: object,
    variable_name: str | None,
    vendor_guid: Guid | None,
    out: Out[UINT32] | None,
    in_out: InOut[UINTN] | None,
) -> None:
    """Take pointers that may be NULL."""


@pytest.mark.parametrize("index", range(4))
def test_a_null_that_may_not_be_is_an_invalid_parameter_and_named(memory: GuestMemory, index: int) -> None:
    words = [AT] * 4
    words[index] = 0
    name = ("VariableName", "VendorGuid", "Out", "InOut")[index]
    with pytest.raises(EfiError, match=f"EFI_INVALID_PARAMETER: {name} is NULL"):
        pointers.decode(arguments(memory, *words))


def test_an_optional_null_is_none(memory: GuestMemory) -> None:
    assert optional.decode(arguments(memory, 0, 0, 0, 0)) == [None] * 4


@pytest.mark.parametrize("declaration", [pointers, optional], ids=lambda one: one.name)
def test_pointers_lead_to_what_they_are_declared_as(
    memory: GuestMemory, declaration: Service[..., Any]
) -> None:
    memory.write(AT, "Boot0001\0".encode("utf-16-le"))
    memory.write(AT + 0x100, GUID.wire)
    memory.write(AT + 0x200, b"\xff" * 8)
    text, guid, out, in_out = declaration.decode(arguments(memory, AT, AT + 0x100, AT + 0x200, AT + 0x200))
    assert (text, guid) == ("Boot0001", GUID)
    assert in_out.get() == ONES
    out.set(0x1234)
    assert memory.read(AT + 0x200, 8) == bytes.fromhex("34120000ffffffff")
    in_out.set(0)
    assert memory.read(AT + 0x200, 8) == bytes(8)
    assert (in_out.given, in_out.value) == (ONES, 0)


@pytest.mark.parametrize("index", [0, 1])
def test_what_is_read_at_once_faults_at_once(memory: GuestMemory, index: int) -> None:
    words = [AT] * 4
    words[index] = WILD
    with pytest.raises(GuestFault, match=f"{WILD:#x}"):
        pointers.decode(arguments(memory, *words))


def test_a_wild_out_pointer_faults_when_it_is_used(memory: GuestMemory) -> None:
    *_, out, in_out = pointers.decode(arguments(memory, AT, AT, SIZE - 3, SIZE - 7))
    with pytest.raises(GuestFault):
        out.set(1)
    with pytest.raises(GuestFault):
        in_out.get()
    with pytest.raises(GuestFault):
        in_out.set(1)
    assert memory.read(SIZE - 8, 8) == bytes(8)


@pytest.mark.parametrize(
    ("target", "size", "value"),
    [
        (UINTN, 8, ONES),
        (UINT16, 2, 0xABCD),
        (UINT8, 1, 0xEF),
        (BOOLEAN, 1, True),
        (Handle, 8, Address(WILD)),
        (Annotated[MemoryType, Scalar("I")], 4, MemoryType.LOADER_DATA),
        (Guid, 16, GUID),
    ],
)
def test_an_out_parameter_writes_exactly_its_size(
    memory: GuestMemory, target: Any, size: int, value: Any
) -> None:
    def body(efi: object, result: Any) -> None:
        pass

    body.__annotations__["result"] = InOut[target]
    memory.write(AT, b"\xa5" * 32)
    (result,) = Service("Sized", "", body).decode(arguments(memory, AT))
    result.set(value)
    assert result.get() == value
    assert memory.read(AT + size, 32 - size) == b"\xa5" * (32 - size)


def test_a_parameter_of_no_known_kind_is_our_mistake(memory: GuestMemory) -> None:
    def body(efi: object, result: float) -> None:
        pass

    body.__annotations__["result"] = float
    with pytest.raises(TypeError, match="is no service parameter"):
        Service("Wrong", "", body).decode(arguments(memory, 0))


# ---------------------------------------------------------------- further arguments


@service("Variadic", "UEFI 2.10 §7.3.16")
def variadic(efi: object, first: UINTN, further: VarArgs) -> None:
    """Take what comes."""


def test_further_arguments_go_on_from_the_declared_ones(memory: GuestMemory) -> None:
    _, further = variadic.decode(arguments(memory, 1, 2, 3, 4, 5, 6, 7))
    assert list(islice(further, 6)) == [2, 3, 4, 5, 6, 7]


def test_further_arguments_end_with_the_stack(memory: GuestMemory) -> None:
    words = Arguments(memory, (1, 2, 3, 4), SIZE - 0x38)
    _, further = variadic.decode(words)
    with pytest.raises(GuestFault):
        list(further)


# ---------------------------------------------------------------- strings


def test_a_string_may_end_with_ram(memory: GuestMemory) -> None:
    memory.write(SIZE - 6, "ab\0".encode("utf-16-le"))
    assert read_char16(memory, SIZE - 6) == "ab"
    assert read_char16(memory, SIZE - 2) == ""


@pytest.mark.parametrize("at", [SIZE - 6, SIZE - 5, SIZE - 1, SIZE, WILD])
def test_a_string_without_an_end_faults_where_ram_ends(memory: GuestMemory, at: int) -> None:
    memory.write(SIZE - 8, b"a\0" * 4)
    with pytest.raises(GuestFault, match="not all RAM"):
        read_char16(memory, at)


@pytest.mark.parametrize("at", [AT, AT + 1, AT + 255])
def test_strings_need_not_be_aligned(memory: GuestMemory, at: int) -> None:
    text = "abc" * 200
    memory.write(at, f"{text}\0".encode("utf-16-le"))
    assert read_char16(memory, at) == text


@pytest.mark.parametrize("at", [AT, AT + 2, AT + 254])
def test_the_longest_string(memory: GuestMemory, at: int) -> None:
    memory.write(at, b"x\0" * (CHAR16_LIMIT - 1))
    assert len(read_char16(memory, at)) == CHAR16_LIMIT - 1
    memory.write(at, b"x\0" * CHAR16_LIMIT)
    with pytest.raises(EfiError, match="a string without an end"):
        read_char16(memory, at)


def test_text_beyond_the_basic_plane_and_lone_surrogates_are_kept(memory: GuestMemory) -> None:
    text = "a\u20ac\U0001f600\ud800"
    memory.write(AT, f"{text}\0".encode("utf-16-le", "surrogatepass"))
    assert read_char16(memory, AT) == text


def test_a_zero_byte_is_no_end(memory: GuestMemory) -> None:
    memory.write(AT, b"\x00\x61\x61\x00\x00\x00")
    assert read_char16(memory, AT) == "\u6100a"


@pytest.mark.parametrize("at", [0xFFE, 0xFFF, 0x1000 - 256 - 1])
def test_a_string_over_pages_that_are_not_neighbours(at: int) -> None:
    ram = GuestMemory([RamBlock(0, memoryview(bytearray(0x8000)))])
    for table in (0, 0x1000, 0x2000):
        ram.write(table, (table + 0x1000 | 1).to_bytes(8, "little"))
    ram.write(0x3000, (0x6000 | 1).to_bytes(8, "little") + (0x5000 | 1).to_bytes(8, "little"))
    virtual = VirtualMemory(ram, 0, 0)
    text = "over the edge" * 20
    virtual.write(at, f"{text}\0".encode("utf-16-le"))
    assert read_char16(virtual, at) == text
    virtual.write(0x2000 - 4, b"x\0y\0")
    with pytest.raises(GuestFault, match="not mapped"):
        read_char16(virtual, 0x2000 - 4)


# ---------------------------------------------------------------- the trace


def test_names_get_back_the_specification_s_spelling(memory: GuestMemory) -> None:
    names = [parameter.spec_name for parameter in scalars.parameters()]
    assert names[-3:] == ["Status", "ImageHandle", "Pointer"]

    def body(efi: object, type_: UINTN, r8: UINTN, maximum_variable_size: UINTN) -> None:
        pass

    spelled = Service("Names", "", body)
    assert [p.spec_name for p in spelled.parameters()] == ["Type", "R8", "MaximumVariableSize"]


def test_the_trace_shows_what_pointers_led_to(memory: GuestMemory) -> None:
    memory.write(AT, "x\0".encode("utf-16-le"))
    memory.write(AT + 0x200, (7).to_bytes(8, "little"))
    values = pointers.decode(arguments(memory, AT, AT, AT + 0x100, AT + 0x200))
    assert pointers.traced(values)[2:] == (("Out", AT + 0x100), ("InOut", AT + 0x200))
    values[3].get()
    values[3].set(9)
    values[2].set(3)
    assert pointers.traced(values)[3] == ("InOut", 7)
    assert pointers.outputs(values) == (("Out", 3), ("InOut", 9))


def test_an_output_of_zero_is_an_output(memory: GuestMemory) -> None:
    values = optional.decode(arguments(memory, 0, 0, AT, 0))
    assert optional.outputs(values) == ()
    values[2].set(0)
    assert optional.outputs(values) == (("Out", 0),)


def test_undecoded_calls_show_their_raw_words(memory: GuestMemory) -> None:
    assert variadic.raw((1, 2, 3, 4)) == (("First", 1), ("Further", 2))
    assert len(scalars.raw((1, 2, 3, 4))) == 4


def test_further_arguments_are_shown_as_far_as_they_were_understood(memory: GuestMemory) -> None:
    values = variadic.decode(arguments(memory, 1, 2))
    assert variadic.traced(values) == (("First", 1),)
    values[1].shown.append(("Protocol", GUID))
    assert variadic.traced(values) == (("First", 1), ("Protocol", GUID))


# ---------------------------------------------------------------- declarations


def test_a_body_is_called_as_plain_python() -> None:
    @service("Plain", "UEFI 2.10 §7.5")
    def plain(efi: object, number: UINTN) -> EfiStatus:
        """Say no.

        NOT_READY: always.
        """
        return EfiStatus.NOT_READY

    assert plain(None, 1) == EfiStatus.NOT_READY
    assert (plain.name, plain.spec, plain.doc) == ("Plain", "UEFI 2.10 §7.5", "Say no.")


def test_services_are_found_by_their_specification_name() -> None:
    assert services_of(declared) == {}
    assert services_of(boot.image)["Exit"].body is boot.image.exit_image.body


ALL = [*boot.SERVICES.values(), *runtime.SERVICES.values()]


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_every_service_is_declared_whole(one: Service[..., Any]) -> None:
    assert one.name in BOOT_SERVICES_SLOTS + RUNTIME_SERVICES_SLOTS
    assert one.spec.startswith("UEFI 2.10 §7." if one.name in BOOT_SERVICES_SLOTS else "UEFI 2.10 §8.")
    assert one.doc.endswith(".")
    assert one.parameters() or one.name == "Reserved"
    assert next(iter(one.body.__annotations__.values())) in (Environment, "Environment")


def test_threads_that_use_a_service_first_at_once_all_decode_it(monkeypatch: pytest.MonkeyPatch) -> None:
    @service("Both", "UEFI 2.10 §7.2")
    def both(_efi: object, this: Pointer, size: UINTN) -> None:
        """Do nothing."""

    together = threading.Barrier(2, timeout=60)

    def slow(body: Callable[..., object], *, include_extras: bool) -> dict[str, object]:
        together.wait()  # both have found nothing
        return get_type_hints(body, globals(), include_extras=include_extras)

    monkeypatch.setattr("pvefi.efi.service.get_type_hints", slow)
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda _: [one.name for one in both.parameters()], range(2)))
    assert found == [["this", "size"]] * 2
    assert [one.spec_name for one in both.parameters()] == ["This", "Size"]
