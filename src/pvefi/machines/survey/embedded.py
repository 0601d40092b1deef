# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether the embedded machine works here: it starts the trampoline and waits for the first doorbell."""

from __future__ import annotations

import importlib.metadata
import time
from dataclasses import dataclass

from pvefi.errors import PvefiError
from pvefi.guest import load_trampoline
from pvefi.guest.mailbox import Finish
from pvefi.machines.embedded import EmbeddedMachine
from pvefi.machines.machine import Hardware
from pvefi.machines.stop import Finished

__all__ = ["EmbeddedSurvey", "survey_embedded"]

_MEMORY = 16 << 20  # bytes: the least that the machine takes
_SECONDS = 20.0  # it takes 0.1


@dataclass(frozen=True)
class EmbeddedSurvey:
    """What is known of the embedded machine; `seconds` from its start to the guest's first doorbell."""

    works: bool
    problem: str = ""
    way_out: str = ""
    unicorn_version: str = ""
    seconds: float | None = None


def survey_embedded() -> EmbeddedSurvey:
    """Start the trampoline on the embedded machine and say what came of it."""
    try:
        version = importlib.metadata.version("unicorn")
    except importlib.metadata.PackageNotFoundError:
        version = ""
    started = time.monotonic()
    try:
        stop = _first_doorbell()
    except PvefiError as error:
        return EmbeddedSurvey(False, error.message, error.way_out, version)
    except Exception as error:  # unicorn's are of many classes; a diagnosis is what is asked for
        problem = f"{type(error).__name__}: {error}"
        return EmbeddedSurvey(False, problem, "pip install --force-reinstall unicorn", version)
    if not isinstance(stop, Finished):
        return EmbeddedSurvey(False, f"its guest ended otherwise than told: {stop}", "", version)
    return EmbeddedSurvey(True, "", "", version, time.monotonic() - started)


def _first_doorbell() -> object:
    """Return how a guest ends that is told to end at its first doorbell."""
    guest = EmbeddedMachine().start(load_trampoline(), Hardware(_MEMORY), lambda _: None)
    try:
        return guest.run(lambda _: Finish(None), _SECONDS)
    finally:
        guest.close()
