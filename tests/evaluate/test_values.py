# SPDX-License-Identifier: GPL-2.0-or-later
"""What a process that a guest may have taken over can make of its parent: values, and nothing else."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from pvefi.errors import MachineError
from pvefi.evaluate.branches import BranchEnd, BranchResult
from pvefi.evaluate.values import packed, unpacked
from pvefi.files import put_file

RESULT = BranchResult("a", None, BranchEnd.ENDED, "", None, "text", 1.5)


class Calling:
    """Something whose pickle calls a function where it is read."""

    def __init__(self, function: object, *words: object) -> None:
        self._called = function, words

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self._called


def test_a_result_arrives_as_it_was() -> None:
    assert unpacked(packed(RESULT), BranchResult) == RESULT


@pytest.mark.parametrize("function", [Path.write_bytes, put_file], ids=["Python's", "pvefi's own"])
def test_a_pickle_that_calls_a_function_calls_none(tmp_path: Path, function: object) -> None:
    made = tmp_path / "made"
    data = pickle.dumps(Calling(function, made, b"data"))
    with pytest.raises(MachineError, match=r"told what is no result: .* is no value of pvefi"):
        unpacked(data, BranchResult)
    assert not made.exists()
    pickle.loads(data)
    assert made.exists()


@pytest.mark.parametrize("data", [b"", b"\x80", b"garbage", packed(RESULT)[:-3]])
def test_what_is_damaged_is_one_line(data: bytes) -> None:
    with pytest.raises(MachineError, match="told what is no result"):
        unpacked(data, BranchResult)


def test_a_value_of_another_kind_is_refused() -> None:
    with pytest.raises(MachineError, match="told a BranchEnd, expected a BranchResult"):
        unpacked(packed(BranchEnd.ENDED), BranchResult)
