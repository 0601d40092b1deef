# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel sees nothing of it when each runtime call is served by an environment made of what was saved."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pvefi.efi.environment import Environment
from pvefi.efi.firmware import Firmware
from pvefi.efi.heir import Heir
from pvefi.efi.kept import Kept
from pvefi.efi.resume import SavedEfi, read_saved, resumed
from pvefi.frozen_json import to_json
from pvefi.guest.mailbox import Answer, Function, Request
from pvefi.trace.events import CallEvent
from tests.qemu_boots.conftest import Boots
from tests.qemu_boots.test_efivarfs import CASES, ERRORS, EXPECTED, SCRIPT
from tests.qemu_boots.test_entries import ends_well

FEW = {name: SCRIPT[name] for name in CASES if name in EXPECTED or name in ERRORS}


class Successors:
    """Stands where one Firmware does: each runtime call finds another, made of JSON and the store."""

    def __init__(self, store: Path, record: Callable[[CallEvent], None], *arguments: Any) -> None:
        self.generations = 0
        self._store = store
        self._arguments = arguments
        self._record = record
        self._state: str | None = None
        self._now = self._firmware()

    def _firmware(self) -> Firmware:
        environment, enter, instructions = self._arguments
        return Firmware(environment, enter, self._record, instructions, self._keep)

    def _keep(self, saved: SavedEfi | None) -> None:
        self._state = None if saved is None else json.dumps(to_json(saved))

    @property
    def environment(self) -> Environment | None:
        return self._now.environment

    @property
    def doorbells(self) -> int:
        return self._now.doorbells

    def answer(self, request: Request) -> Answer:
        if self._state is not None and request.function < Function.BOOT:
            self._succeed(request.done)
        return self._now.answer(request)

    def _succeed(self, done: int) -> None:
        assert self._state is not None
        before = self._now.environment
        if before is None:
            return
        trampoline = before.trampoline
        saved = read_saved(json.loads(self._state), trampoline, "the state")
        if not saved.runtime:
            return
        before.surroundings.kept.close()
        surroundings = replace(before.surroundings, kept=Kept.open(self._store))
        self._now = self._firmware()
        self._now.take_over(
            Heir.of(saved, done, done),
            resumed(saved, before.physical, trampoline, surroundings),
            saved.calls + self.generations,
            done,
        )
        self.generations += 1

    def close(self) -> None:
        if self._now.environment is not None:
            self._now.environment.surroundings.kept.close()


@pytest.fixture
def successors(monkeypatch: pytest.MonkeyPatch, store: Path) -> Iterator[list[Successors]]:
    made: list[Successors] = []

    def firmware(environment: Any, enter: Any, record: Any, instructions: Any, *_rest: Any) -> Successors:
        made.append(Successors(store, record, environment, enter, instructions))
        return made[-1]

    monkeypatch.setattr("pvefi.boot.Firmware", firmware)
    yield made
    for one in made:
        one.close()


def test_efivarfs_does_all_it_does_when_each_call_finds_a_new_environment(
    boots: Boots, store: Path, successors: list[Successors]
) -> None:
    booted = boots("cloud", "script", programs=("chattr",), script=FEW, variables=store)
    facts = ends_well(booted)
    for name in FEW:
        assert facts.script[name].output.decode() == EXPECTED.get(name, ""), name
        assert ERRORS.get(name, "") in facts.script[name].error.decode(), name
    (one,) = successors
    names = [call.service for call in booted.calls]
    after = names[names.index("ExitBootServices") + 1 :]
    assert one.generations == len(after)
    assert {"SetVirtualAddressMap", "SetVariable", "GetNextVariableName"} <= set(after)
