# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures of variables that last are made of samples as the documentation says; the measuring runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.figures import Figure
from bench.store_figures import GuestSample, StoreSamples, store_figures_of, store_tables_of
from bench.store_guest import RuntimeGuest
from bench.store_once import main, measure_open
from pvefi.efi.varstore.memory import MemoryStore
from tests.efi.varstore.flash import VENDOR, variable
from tests.efi.varstore.kills import Killed

SAMPLES = StoreSamples(
    sets=((300.0, 150.0), (360.0, 120.0)),
    gets=((20.0, 25.0),),
    opens=((1.0, 19.0),),
    guests=((GuestSample(100.0, 20.0), GuestSample(80.0, 160.0)),),
    killed=(Killed(10, 40, 0, 0, 6), Killed(5, 20, 1, 2, 3)),
)


def by_name(samples: StoreSamples) -> dict[str, Figure]:
    return {figure.name: figure for figure in store_figures_of(samples)}


def test_ratios_are_of_what_was_measured_in_turn() -> None:
    figures = by_name(SAMPLES)
    assert figures["set-variable"].values == (2.0, 3.0)
    assert figures["get-variable-growth"].values == (1.25,)
    assert figures["guest-variables"].values == (0.5,)
    assert [figures[name].met for name in ("set-variable", "get-variable-many", "open-store-full")] == [
        True
    ] * 3


def test_what_killed_writers_lost_is_counted_over_all_stores() -> None:
    figures = by_name(SAMPLES)
    assert (figures["killed-lost"].values, figures["killed-corrupt"].values) == ((1.0,), (2.0,))
    assert figures["killed-lost"].met is False
    assert figures["killed-lost"].what == "15 writers killed: lost changes"
    assert "of 60 changes" in figures["killed-lost"].how


def test_what_was_not_measured_has_no_figure_and_no_table() -> None:
    assert not any(figure.values for figure in store_figures_of(StoreSamples()))
    assert store_tables_of(StoreSamples()) == []
    assert [table.rows[0][1] for table in store_tables_of(SAMPLES)] == ["135", "100", "10"]


def test_a_guest_reads_by_its_own_page_tables() -> None:
    store = MemoryStore()
    store.put(variable("Name", b"data"))
    guest = RuntimeGuest(store)
    name, vendor = guest.place("Name\0".encode("utf-16-le")), guest.place(VENDOR.wire)
    size, data = guest.place((4).to_bytes(8, "little")), guest.place(bytes(4))
    gate = guest.gate("GetVariable")
    assert guest.seconds(gate, name, vendor, 0, size, data) > 0
    guest.store(name, "None\0".encode("utf-16-le"))
    with pytest.raises(RuntimeError, match="expected EFI_SUCCESS"):
        guest.seconds(gate, name, vendor, 0, size, data)


def test_a_measurement_is_a_process_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.store_once._SETS", 3)
    assert main(["set", str(tmp_path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"set_us", "write_us"}
    assert all(time > 0 for time in found.values())
    monkeypatch.setattr("bench.store_once._OPENS", 1)
    assert set(measure_open(tmp_path)) == {"empty_ms", "full_ms"}
