# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether pvefi can make domains of Xen here: each thing that this takes is looked at, none is made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pvefi.errors import MachineError
from pvefi.machines.xen.host import is_control_domain, on_xen, require_control_domain, xen_version
from pvefi.machines.xen.hypercall import Hypercalls
from pvefi.machines.xen.libraries import LIBRARIES, load_library
from pvefi.machines.xen.xenstore import Xenstore
from pvefi.machines.xen.xl import find_xl

__all__ = ["XenSurvey", "survey_xen"]

_DOM0 = 0


@dataclass(frozen=True)
class XenSurvey:
    """What there is of Xen: whether this host runs on it and is its control domain; libraries that load.

    `version` is Xen's, `program` is xl; empty and None where they were not found.
    """

    works: bool
    problem: str
    way_out: str
    on_xen: bool
    control_domain: bool
    libraries: tuple[tuple[str, bool], ...]
    version: str = ""
    program: Path | None = None


def survey_xen(root: Path = Path("/")) -> XenSurvey:
    """Return what there is of Xen on this host; every failure is told, none is raised."""
    problem, way_out, program = "", "", None
    try:
        require_control_domain(root)
        program = find_xl().program
        Xenstore.open(root).close()
        with Hypercalls() as xen:
            xen.domain_state(_DOM0)
        for name in LIBRARIES:
            load_library(name)
    except MachineError as error:
        problem, way_out = error.message, error.way_out
    return XenSurvey(
        works=not problem,
        problem=problem,
        way_out=way_out,
        on_xen=on_xen(root),
        control_domain=is_control_domain(root),
        libraries=tuple((name, _loads(name)) for name in LIBRARIES),
        version=xen_version(root).text,
        program=program,
    )


def _loads(name: str) -> bool:
    try:
        load_library(name)
    except MachineError:
        return False
    return True
