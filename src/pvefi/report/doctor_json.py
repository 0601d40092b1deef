# SPDX-License-Identifier: GPL-2.0-or-later
"""The JSON document of `pvefi doctor`; docs/json-documents.md describes it."""

from __future__ import annotations

from dataclasses import asdict

from pvefi import __version__
from pvefi.machines.qemu.accelerator import Trial
from pvefi.machines.survey import EmbeddedSurvey, QemuSurvey, XenSurvey
from pvefi.report.doctor import Findings
from pvefi.trace.values import Json

__all__ = ["SCHEMA", "VERSION", "doctor_to_json"]

SCHEMA = "pvefi/doctor"
VERSION = 1


def doctor_to_json(found: Findings) -> dict[str, Json]:
    """Return the document."""
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "pvefi": __version__,
        "machines": {
            "embedded": _embedded(found.embedded),
            "qemu": _qemu(found.qemu),
            "xen": _xen(found.xen),
        },
        "host": asdict(found.host),
    }


def _outcome(survey: EmbeddedSurvey | QemuSurvey | XenSurvey) -> dict[str, Json]:
    return {
        "works": survey.works,
        "problem": survey.problem or None,
        "way_out": survey.way_out or None,
    }


def _embedded(survey: EmbeddedSurvey) -> dict[str, Json]:
    return {
        **_outcome(survey),
        "unicorn": survey.unicorn_version or None,
        "first_doorbell_seconds": survey.seconds,
    }


def _qemu(survey: QemuSurvey) -> dict[str, Json]:
    qemu, choice, ovmf = survey.qemu, survey.choice, survey.ovmf
    return {
        **_outcome(survey),
        "program": str(qemu.program) if qemu is not None else None,
        "program_version": qemu.version_text if qemu is not None else None,
        "built_in": list(survey.built_in),
        "accelerators": [_trial(trial) for trial in survey.trials],
        "choice": None
        if choice is None
        else {"name": choice.name, "cpu": choice.cpu, "reason": choice.reason},
        "machine_types": [
            {"name": trial.name, "works": trial.works, "problem": trial.problem or None}
            for trial in survey.machine_types
        ],
        "firmware": [
            {"name": name, "path": None if path is None else str(path)} for name, path in survey.firmware
        ],
        "ovmf": {
            "code": None if ovmf is None else str(ovmf.code),
            "variables": None if ovmf is None else str(ovmf.variables),
            "code_format": None if ovmf is None else ovmf.code_format,
            "variables_format": None if ovmf is None else ovmf.variables_format,
            "problem": survey.ovmf_problem or None,
            "way_out": survey.ovmf_way_out or None,
        },
    }


def _trial(trial: Trial) -> dict[str, Json]:
    speed = trial.speed
    return {
        "name": trial.name,
        "works": trial.runs,
        "cpu": trial.cpu or None,
        "instructions_per_second": None if speed is None else round(speed.instructions_per_second),
        "port_read_seconds": None if speed is None else speed.port_read_seconds,
        "problem": trial.refusal or None,
        "way_out": trial.way_out or None,
    }


def _xen(survey: XenSurvey) -> dict[str, Json]:
    return {
        **_outcome(survey),
        "on_xen": survey.on_xen,
        "control_domain": survey.control_domain,
        "xen_version": survey.version or None,
        "program": None if survey.program is None else str(survey.program),
        "libraries": [{"name": name, "loads": loads} for name, loads in survey.libraries],
    }
