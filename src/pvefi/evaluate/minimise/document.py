# SPDX-License-Identifier: GPL-2.0-or-later
"""What `pvefi minimise` has found as one document, the profile in it, and as the profile's evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pvefi.efi.profiles import SERVICES, Profile
from pvefi.evaluate.minimise.claim import SOURCE, against_page
from pvefi.evaluate.minimise.confirm import Confirmation
from pvefi.evaluate.minimise.losses import Loss
from pvefi.evaluate.minimise.search import Found, Trial
from pvefi.profile_file import profile_to_json
from pvefi.trace.values import Json
from pvefi.verdict import Goal

__all__ = ["SCHEMA", "VERSION", "Experiment", "profile_document", "to_json"]

SCHEMA = "pvefi/minimise"
VERSION = 1


@dataclass(frozen=True)
class Experiment:
    """One run of `pvefi minimise`: what was asked for, what was found, and the smallest profile.

    `setup` are the image and the options, by the names that they have in the document. `seconds` is by the
    clock.
    """

    setup: Mapping[str, Json]
    found: Found
    profile: Profile
    confirmation: Confirmation
    seconds: float


def to_json(made: Experiment) -> dict[str, Json]:
    """Return the whole experiment; but for seconds, the same for the same image, options and seed."""
    found = made.found
    return {
        "schema": SCHEMA,
        "version": VERSION,
        **made.setup,
        "seconds": round(made.seconds, 3),
        **evidence(made),
        "boots": found.boots,
        "page": SOURCE,
        "claims": _claims(made),
        "profile": profile_to_json(made.profile),
    }


def _claims(made: Experiment) -> list[Json]:
    """Return what the page claims of kernels; of what ends by itself it claims nothing."""
    goal = made.setup["goal"]
    if goal not in (Goal.HANDOFF.value, Goal.USERSPACE.value):
        return []
    return [
        {"thing": one.thing, "claim": one.claim.value, "found": one.found, "holds": one.holds}
        for one in against_page(made.found, to_user_space=goal == Goal.USERSPACE.value)
    ]


def profile_document(made: Experiment) -> dict[str, Json]:
    """Return the profile's file, with what was found as its evidence."""
    told = {**made.setup, **evidence(made)}
    return profile_to_json(made.profile, {"by": f"{SCHEMA} {VERSION}", **told})


def evidence(made: Experiment) -> dict[str, Json]:
    """Return what was found of each service and protocol."""
    found, confirmation = made.found, made.confirmation
    return {
        "with_everything": {"how": found.base.how, "calls": len(found.base.calls)},
        "uses": [{"thing": thing, "kind": _kind(thing), "calls": calls} for thing, calls in found.uses],
        "unused": list(found.unused),
        "trials": [_trial(one, confirmation) for one in found.trials],
        "needed": list(found.needed),
        "degraded": list(found.degraded),
        "confirmation": {
            "confirmed": confirmation.confirmed,
            "why": confirmation.why,
            "degraded": list(confirmation.degraded),
        },
    }


def _kind(thing: str) -> str:
    return "service" if thing in SERVICES else "protocol"


def _trial(one: Trial, confirmation: Confirmation) -> dict[str, Json]:
    again = confirmation.trials.get(one.loss) if one.alone else None
    return {
        "thing": one.loss.thing,
        "kind": _kind(one.loss.thing),
        "refusal": _refusal(one.loss),
        "alone": one.alone,
        **_outcome(one),
        "on_qemu": None if again is None else _outcome(again),
    }


def _outcome(one: Trial) -> dict[str, Json]:
    return {"effect": one.effect.value, "how": one.how, "differences": list(one.differences)}


def _refusal(loss: Loss) -> str | None:
    return None if loss.status is None else loss.status.efi_name
