# SPDX-License-Identifier: GPL-2.0-or-later
"""What `pvefi inject` has found as one document, with the command that repeats each finding."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from pvefi.evaluate.inject.findings import BAD, Effect, Finding
from pvefi.evaluate.inject.plan import Injection, Plan
from pvefi.prepare import BootOptions
from pvefi.trace.values import Json
from pvefi.verdict import BootResult

__all__ = ["SCHEMA", "VERSION", "Experiment", "command_of", "plan_to_json", "to_json"]

SCHEMA = "pvefi/inject"
PLAN_SCHEMA = "pvefi/inject-plan"
VERSION = 1
_PATIENCE = 60
"""Seconds that a command grants to what hangs."""


@dataclass(frozen=True)
class Experiment:
    """One run of `pvefi inject`: the boot without faults, the plan, and the findings in the plan's order."""

    options: BootOptions
    trunk: BootResult
    plan: Plan
    findings: tuple[Finding, ...] = ()

    @property
    def bad(self) -> tuple[Finding, ...]:
        """The crashes and hangs."""
        return tuple(one for one in self.findings if one.effect in BAD)

    def count(self, effect: Effect) -> int:
        """Return how many findings there are of this effect."""
        return sum(one.effect is effect for one in self.findings)


def command_of(options: BootOptions, injection: Injection, *, hangs: bool = False) -> str:
    """Return the line for a shell that boots with this one fault, with the same machine and seed.

    What is as `pvefi boot` has it by itself is left out.
    """
    words = ["pvefi", "boot", _operand(str(options.image)), "--machine", "embedded"]
    words += ["--seed", str(options.seed), "--inject", str(injection.fault)]
    usual = BootOptions(options.image, options.machine)
    said = (
        ("--entry", options.entry, usual.entry),
        ("--initrd", options.initrd, None),
        ("--cmdline", options.command_line, None),
        ("--esp", options.esp, None),
        ("--profile", options.profile.word, usual.profile.word),
        ("--memory", _size(options.memory_size), _size(usual.memory_size)),
        ("--timeout", _PATIENCE if hangs else None, None),
    )
    for option, value, usually in said:
        if value != usually:
            words += [option, str(value)]
    return shlex.join(words)


def _operand(path: str) -> str:
    """Return a path that is no option, whatever it begins with."""
    return f"./{path}" if path.startswith("-") else path


def _size(size: int) -> str:
    """Return a size as options take it."""
    return f"{size >> 20}M" if size % (1 << 20) == 0 else f"{size >> 10}K"


def _head(schema: str, made: Experiment) -> dict[str, Json]:
    boot, options = made.trunk, made.options
    return {
        "schema": schema,
        "version": VERSION,
        "image": boot.image,
        "image_sha256": boot.image_sha256,
        "machine": boot.machine,
        "machine_about": boot.machine_about,
        "entry": boot.entry,
        "profile": boot.profile,
        "memory_size": boot.memory_size,
        "command_line": boot.command_line,
        "initrd": boot.initrd,
        "esp": boot.esp,
        "seed": options.seed,
        "without_faults": {
            "outcome": boot.verdict.outcome.value,
            "message": boot.verdict.message,
            "calls": boot.calls_made,
            "calls_left_out": made.plan.left_out,
        },
    }


def _injection(one: Injection) -> dict[str, Json]:
    return {
        "fault": str(one.fault),
        "call": one.index,
        "service": one.fault.service,
        "call_of_service": one.fault.call,
        "kind": one.fault.kind.value,
        "status": one.fault.status.efi_name if one.fault.status is not None else None,
    }


def plan_to_json(made: Experiment) -> dict[str, Json]:
    """Return what would be tried."""
    return {**_head(PLAN_SCHEMA, made), "injections": [_injection(one) for one in made.plan.injections]}


def to_json(made: Experiment) -> dict[str, Json]:
    """Return the whole experiment; but for `cpu_seconds`, the same for the same image, options and seed."""
    return {
        **_head(SCHEMA, made),
        "effects": {effect.value: made.count(effect) for effect in Effect},
        "services": _services(made.findings),
        "findings": [_finding(made.options, one) for one in made.findings],
        "cpu_seconds": round(sum(one.seconds for one in made.findings), 3),
    }


def _services(findings: Sequence[Finding]) -> list[Json]:
    services = dict.fromkeys(one.injection.fault.service for one in findings)
    told: list[Json] = []
    for service in services:
        own = [one for one in findings if one.injection.fault.service == service]
        counts: dict[str, Json] = {
            effect.value: sum(one.effect is effect for one in own) for effect in Effect
        }
        told.append(
            {"service": service, "calls": len({one.injection.index for one in own}), "effects": counts}
        )
    return told


def _finding(options: BootOptions, one: Finding) -> dict[str, Json]:
    return {
        **_injection(one.injection),
        "effect": one.effect.value,
        "message": one.message,
        "ended_with": one.status.efi_name if one.status is not None else None,
        "said": one.said,
        "other_calls_follow": one.differs,
        "command": command_of(options, one.injection, hangs=one.effect is Effect.HANGS),
        "cpu_seconds": round(one.seconds, 3),
    }
