# SPDX-License-Identifier: GPL-2.0-or-later
"""What one boot says, and in what another one differs from it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pvefi.errors import UsageError
from pvefi.evaluate.minimise.calls import Call, call_of, used
from pvefi.evaluate.minimise.goal import Reach, Wanted, parse_goal
from pvefi.evaluate.minimise.observed import Observed, differences, failed, observed, shortfall
from pvefi.report.boot import to_json
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.jsonl import event_to_json
from pvefi.trace.values import Json
from pvefi.verdict import Outcome, Verdict
from tests.report.made import CALLS, result

HANDOFF = Wanted(Reach.HANDOFF)
OUTPUT = "EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL.OutputString"


def kernel(*calls: Call, log: tuple[str, ...] | None = None, **fields: Any) -> Observed:
    boot = to_json(result(**fields))
    return Observed(True, "hand-off: there", calls, boot, log)


def line(service: str, status: str = "EFI_SUCCESS", **arguments: Json) -> dict[str, Json]:
    return {"index": 1, "service": service, "status": status, "arguments": arguments}


# ---------------------------------------------------------------- calls


def test_a_call_takes_its_service_and_the_protocol_that_it_names() -> None:
    protocol: Json = {"guid": "3152bca5-eade-433d-862e-c01cdc291f44", "name": "RNG_PROTOCOL"}
    call = call_of(line("LocateProtocol", Protocol=protocol))
    assert call.subject == "RNG_PROTOCOL"
    assert call.things == {"LocateProtocol", "RNG_PROTOCOL"}


def test_a_protocol_s_function_takes_the_protocol() -> None:
    assert call_of(line("EFI_RNG_PROTOCOL.GetRNG")).things == {"RNG_PROTOCOL"}
    assert call_of(line("EFI_FILE_PROTOCOL.Read")).things == {"SIMPLE_FILE_SYSTEM_PROTOCOL"}


def test_a_protocol_that_a_guest_installs_itself_is_none_that_it_takes() -> None:
    protocol: Json = {"guid": "3152bca5-eade-433d-862e-c01cdc291f44", "name": "RNG_PROTOCOL"}
    assert call_of(line("InstallProtocolInterface", Protocol=protocol)).things == {"InstallProtocolInterface"}


def test_who_looks_at_every_handle_takes_every_protocol() -> None:
    every: Json = {"enum": "LocateSearchType", "value": 0, "name": "AllHandles"}
    assert {"RNG_PROTOCOL", "LOADED_IMAGE_PROTOCOL"} <= call_of(line("LocateHandle", SearchType=every)).things


def test_a_device_path_is_located_by_device_paths() -> None:
    assert "DEVICE_PATH_PROTOCOL" in call_of(line("LocateDevicePath")).things


def test_uses_are_counted_in_the_order_of_first_use() -> None:
    calls = [call_of(line(name)) for name in ("Stall", "GetTime", "Stall")]
    assert list(used(calls).items()) == [("Stall", 2), ("GetTime", 1)]


def test_what_was_refused_said_nothing() -> None:
    assert call_of(line(OUTPUT, String="hello")).said == "hello"
    assert call_of(line(OUTPUT, "EFI_UNSUPPORTED", String="hello")).said == ""


# ---------------------------------------------------------------- goals


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("handoff", Wanted(Reach.HANDOFF)),
        ("userspace", Wanted(Reach.USERSPACE)),
        ("exit=0", Wanted(Reach.EXIT)),
        ("exit=EFI_ABORTED", Wanted(Reach.EXIT, EfiStatus.ABORTED)),
        ("exit=0x8000000000000015", Wanted(Reach.EXIT, EfiStatus.ABORTED)),
    ],
)
def test_a_goal_is_read_and_reads_back(text: str, wanted: Wanted) -> None:
    assert parse_goal(text) == wanted == parse_goal(str(wanted))


@pytest.mark.parametrize(
    "text", ["", "exit", "exit=", "exit=-1", "exit=0x10000000000000000", "kernel", "exit=x"]
)
def test_what_is_no_goal_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected a goal"):
        parse_goal(text)


@pytest.mark.parametrize("status", [EfiStatus.SUCCESS, EfiStatus.ABORTED])
def test_a_program_s_goal_is_its_very_status(status: EfiStatus) -> None:
    boot = to_json(result(verdict=Verdict(Outcome.EXITED, "ended", status), handoff=None))
    assert Wanted(Reach.EXIT, status).reached(boot)
    assert not Wanted(Reach.EXIT, EfiStatus.NOT_FOUND).reached(boot)
    assert not HANDOFF.reached(boot)


# ---------------------------------------------------------------- boots


def test_a_boot_is_observed_from_its_document_and_trace() -> None:
    seen = observed(HANDOFF, to_json(result()), [event_to_json(call) for call in CALLS], b"<6>[ 1.0] hello\n")
    assert (seen.reached, len(seen.calls), seen.log) == (True, len(CALLS), ("hello",))


def test_two_boots_alike_have_no_difference() -> None:
    seen = kernel(Call("Stall", "", frozenset()), log=("hello",))
    assert (differences(seen, seen), shortfall(seen, seen)) == ((), "")


def test_calls_that_are_made_or_not_made_are_told() -> None:
    stall, get = Call("Stall", "", frozenset()), Call("GetVariable", "Boot", frozenset())
    assert differences(kernel(stall, get), kernel(stall, stall)) == (
        "calls Stall twice, not once",
        "calls GetVariable(Boot) never, not once",
    )


def test_a_call_whose_subject_was_never_read_is_no_other_call() -> None:
    get, refused = Call("GetVariable", "Boot", frozenset()), Call("GetVariable", "", frozenset())
    assert differences(kernel(get), kernel(refused)) == ()


def test_what_the_console_lacks_is_told() -> None:
    said = replace(call_of(line(OUTPUT)), said="hello\r\n")
    assert differences(kernel(said), kernel(replace(said, said=""))) == ('console lacks "hello"',)


def test_another_command_line_or_ramdisk_is_not_the_goal() -> None:
    base = kernel()
    lost: dict[str, Json] = {**dict(base.boot)}
    handoff = lost["handoff"]
    assert isinstance(handoff, dict)
    lost["handoff"] = {**handoff, "initrd": None}
    assert handoff["initrd"]
    assert shortfall(base, replace(base, boot=lost)) == "hand-off: there, but without its initial ramdisk"


def test_a_boot_that_ended_otherwise_falls_short_with_its_own_words() -> None:
    assert shortfall(kernel(), failed("died: of something\x1b[2J")) == "died: of something\\x1b[2J"


def test_the_kernel_s_messages_are_compared_where_both_are_known() -> None:
    one, two = kernel(log=("same", "old")), kernel(log=("same", "new"))
    assert differences(one, two) == ('kernel log lacks "old"', 'kernel log has "new"')
    assert differences(one, replace(two, log=None)) == ()


def test_many_lines_are_bounded() -> None:
    told = differences(kernel(log=tuple(map(str, range(100)))), kernel(log=()))
    assert len(told) < 20
    assert told[-1] == "kernel log: 88 further lines differ"
    (long,) = differences(kernel(log=("x" * 1000,)), kernel(log=()))
    assert len(long) <= 160


def test_times_that_were_measured_are_no_difference() -> None:
    def log(*lines: str) -> Observed:
        raw = "".join(f"<6>[    1.0] {one}\n" for one in lines)
        return observed(HANDOFF, to_json(result()), [], raw.encode())

    one = log("tsc: Detected 2594.070 MHz processor", "initialised in 20ms", "efi: RNG=0x1ffec018")
    two = log("tsc: Detected 2596.142 MHz processor", "initialised in 8ms", "efi: RNG=0x1ffed018")
    assert differences(one, two) == ()
    assert differences(log("secure boot (mode 1)"), log("secure boot (mode 2)"))
