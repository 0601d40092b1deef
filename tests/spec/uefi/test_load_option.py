# SPDX-License-Identifier: GPL-2.0-or-later
"""Load options and signature lists: what is well formed is read, and nothing else."""

from __future__ import annotations

import struct

import pytest

from pvefi.spec.uefi.device_path import END
from pvefi.spec.uefi.load_option import LoadOption, LoadOptionError
from pvefi.spec.uefi.signature_list import CERT_SHA256, SignatureListError, packed, signature_lists


def test_a_load_option_survives_a_round_trip() -> None:
    option = LoadOption(1, "Débian", END, b"\x01\x02\x03")
    assert LoadOption.parse(option.pack()) == option
    assert option.is_active


@pytest.mark.parametrize("size", range(len(LoadOption(1, "ab", END).pack())))
def test_a_load_option_that_is_cut_short_is_none(size: int) -> None:
    with pytest.raises(LoadOptionError):
        LoadOption.parse(LoadOption(1, "ab", END).pack()[:size])


def one_list(signatures: int = 2, size: int = 48, total: int | None = None) -> bytes:
    total = 28 + signatures * size if total is None else total
    return CERT_SHA256.wire + struct.pack("<III", total, 0, size) + bytes(signatures * 48)


def test_lists_of_signatures_stand_one_after_the_other() -> None:
    found = list(signature_lists(one_list() + one_list(1)))
    assert [(one.kind, len(one.signatures)) for one in found] == [("SHA-256", 2), ("SHA-256", 1)]
    assert list(signature_lists(b"")) == []
    with_header = CERT_SHA256.wire + struct.pack("<III", 28 + 5 + 48, 5, 48) + b"extra" + bytes(48)
    for data in (one_list(), with_header):
        assert b"".join(map(packed, signature_lists(data))) == data


@pytest.mark.parametrize(
    "data", [one_list()[:-1], one_list()[:20], one_list(size=15), one_list(size=0), one_list(total=27)]
)
def test_what_is_no_list_of_signatures_is_refused(data: bytes) -> None:
    with pytest.raises(SignatureListError):
        list(signature_lists(data))
