# SPDX-License-Identifier: GPL-2.0-or-later
"""What Xen says of a domain, whichever of the known versions of its interface it has."""

from __future__ import annotations

import pytest

from pvefi.errors import MachineError
from pvefi.machines.xen.hypercall import DomainState, Hypercalls
from pvefi.spec.xen.domctl import Shutdown
from tests.machines.xen.dom0 import DOMID, HVM, PAUSED, SHUTDOWN, Dom0, FilesLibraries


@pytest.mark.parametrize(
    ("flags", "state"),
    [
        (HVM, DomainState(hvm=True, paused=False, dying=False, shutdown=None)),
        (HVM | PAUSED, DomainState(hvm=True, paused=True, dying=False, shutdown=None)),
        (1, DomainState(hvm=False, paused=False, dying=True, shutdown=None)),
        (SHUTDOWN, DomainState(hvm=False, paused=False, dying=False, shutdown=Shutdown.POWEROFF)),
        (3 << 16 | HVM | SHUTDOWN, DomainState(hvm=True, paused=False, dying=False, shutdown=Shutdown.CRASH)),
        (3 << 16 | HVM, DomainState(hvm=True, paused=False, dying=False, shutdown=None)),
    ],
)
def test_flags_say_how_a_domain_is(dom0: Dom0, flags: int, state: DomainState) -> None:
    dom0.flags(flags)
    with Hypercalls(dom0.libraries) as xen:
        assert xen.domain_state(DOMID) == state


def test_the_next_domain_is_not_taken_for_one_that_is_gone(dom0: Dom0) -> None:
    dom0.flags(HVM, DOMID + 1)
    with Hypercalls(dom0.libraries) as xen:
        assert xen.domain_state(DOMID) is None
        assert xen.domain_state(DOMID + 2) is None


@pytest.mark.parametrize("version", range(0x11, 0x19))
def test_the_interface_s_version_is_found_once(dom0: Dom0, version: int) -> None:
    libraries = FilesLibraries(dom0.root, version)
    dom0.flags(HVM)
    with Hypercalls(libraries) as xen:
        assert xen.domain_state(DOMID) is not None
        tried = len(libraries.asked)
        assert xen.domain_state(DOMID) is not None
    assert libraries.asked[-1] == version
    assert len(libraries.asked) == tried + 1


@pytest.mark.parametrize("version", [0x10, 0x19])
def test_an_interface_that_nobody_knows_is_refused(dom0: Dom0, version: int) -> None:
    with (
        Hypercalls(FilesLibraries(dom0.root, version)) as xen,
        pytest.raises(MachineError, match=r"Xen 4\.12 to 4\.22"),
    ):
        xen.domain_state(DOMID)
