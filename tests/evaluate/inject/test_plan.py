# SPDX-License-Identifier: GPL-2.0-or-later
"""What is tried with a boot's calls."""

from __future__ import annotations

import pytest

from pvefi.evaluate.inject.plan import make_plan
from pvefi.spec.uefi.status import EfiStatus
from pvefi.trace.events import CallEvent

SUCCESS = EfiStatus.SUCCESS


def calls(*made: tuple[str, EfiStatus | None]) -> list[CallEvent]:
    return [
        CallEvent(index, service, (), status, None, (), 0.0, None, "", 1)
        for index, (service, status) in enumerate(made, 1)
    ]


def planned(*made: tuple[str, EfiStatus | None], only: tuple[str, ...] = ()) -> list[str]:
    return [str(one.fault) for one in make_plan(calls(*made), len(made), only).injections]


def test_every_status_of_the_table_is_tried() -> None:
    assert planned(("FreePages", SUCCESS)) == [
        "FreePages#1=EFI_NOT_FOUND",
        "FreePages#1=EFI_INVALID_PARAMETER",
    ]


def test_the_status_that_the_call_had_is_not_tried() -> None:
    assert planned(("FreePages", EfiStatus.NOT_FOUND)) == ["FreePages#1=EFI_INVALID_PARAMETER"]


def test_a_short_buffer_is_tried_where_the_buffer_was_large_enough() -> None:
    short = "GetMemoryMap#1:short-buffer"
    assert planned(("GetMemoryMap", SUCCESS)) == [short, "GetMemoryMap#1=EFI_INVALID_PARAMETER"]
    assert short not in planned(("GetMemoryMap", EfiStatus.BUFFER_TOO_SMALL))
    assert short not in planned(("GetMemoryMap", EfiStatus.INVALID_PARAMETER))


def test_no_memory_is_tried_where_memory_was_given() -> None:
    assert "AllocatePool#1:exhausted" in planned(("AllocatePool", SUCCESS))
    assert "AllocatePool#1:exhausted" not in planned(("AllocatePool", EfiStatus.INVALID_PARAMETER))
    assert "FreePool#1:exhausted" not in planned(("FreePool", SUCCESS))


def test_a_stale_key_is_tried_where_the_key_was_good() -> None:
    faults = planned(("ExitBootServices", EfiStatus.INVALID_PARAMETER), ("ExitBootServices", SUCCESS))
    assert [fault for fault in faults if "stale" in fault] == ["ExitBootServices#2:stale-key"]


def test_what_only_runtime_allows_is_tried_after_exit_boot_services_alone() -> None:
    faults = planned(("GetVariable", SUCCESS), ("ExitBootServices", SUCCESS), ("GetVariable", SUCCESS))
    assert [fault for fault in faults if "UNSUPPORTED" in fault] == ["GetVariable#2=EFI_UNSUPPORTED"]


def test_services_that_cannot_fail_are_left_alone() -> None:
    assert planned(("Stall", SUCCESS), ("CopyMem", None), ("ResetSystem", None), ("Reserved", SUCCESS)) == []


def test_the_call_of_a_service_is_counted_and_the_number_of_the_call_kept() -> None:
    plan = make_plan(calls(("FreePool", SUCCESS), ("Stall", SUCCESS), ("FreePool", SUCCESS)), 3)
    assert [(str(one.place), one.index) for one in plan.injections] == [("FreePool#1", 1), ("FreePool#2", 3)]


def test_calls_are_counted_as_they_were_made_not_as_they_ended() -> None:
    inner, outer = calls(("FreePool", SUCCESS), ("FreePool", EfiStatus.INVALID_PARAMETER))
    plan = make_plan([outer, inner], 2)
    assert [(str(one.place), one.index) for one in plan.injections] == [("FreePool#1", 1)]


@pytest.mark.parametrize("glob", ["FreeP*", "freepool", "*pool"])
def test_only_the_services_asked_for_are_tried_and_all_are_counted(glob: str) -> None:
    made = (("GetMemoryMap", SUCCESS), ("FreePool", SUCCESS))
    assert planned(*made, only=(glob,)) == ["FreePool#1=EFI_INVALID_PARAMETER"]


def test_calls_that_were_not_kept_are_told_and_those_after_them_left_alone() -> None:
    kept = calls(*[("FreePool", SUCCESS)] * 9)
    plan = make_plan([*kept[:2], *kept[7:]], 9)
    assert ([one.index for one in plan.injections], plan.left_out) == ([1, 2], 7)
