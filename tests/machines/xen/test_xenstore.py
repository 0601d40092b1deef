# SPDX-License-Identifier: GPL-2.0-or-later
"""The client of xenstored, against one that speaks from its header file's point of view."""

from __future__ import annotations

from pathlib import Path

import pytest

from pvefi.errors import MachineError
from pvefi.machines.readiness import is_ready
from pvefi.machines.xen.xenstore import Xenstore
from tests.machines.xen.dom0 import DOMID, HVM, Dom0

PATIENCE = 10.0


def test_what_is_there_is_read_and_what_is_not_is_none(dom0: Dom0) -> None:
    dom0.domain(HVM, name="näme")
    with Xenstore.open(dom0.root) as store:
        assert store.read(f"/local/domain/{DOMID}/name") == "näme"
        assert store.read("/local/domain/9/name") is None
        assert store.directory("/local/domain") == (str(DOMID),)
        assert store.directory("/nowhere") == ()


def test_a_domain_is_found_by_its_name_and_by_its_uuid(dom0: Dom0) -> None:
    dom0.domain(HVM)
    with Xenstore.open(dom0.root) as store:
        assert (store.domain("mine"), store.domain("yours")) == (DOMID, None)
        assert (store.domain_of("their-uuid"), store.domain_of("another")) == (DOMID, None)


def test_a_watch_fires_at_once_and_with_each_change(dom0: Dom0) -> None:
    with Xenstore.open(dom0.root) as store:
        store.watch("@releaseDomain")
        assert store.wait(PATIENCE)
        assert list(store.events()) == ["@releaseDomain"]
        assert not is_ready(store.fileno(), 0)
        dom0.fire(b"@releaseDomain")
        assert is_ready(store.fileno(), PATIENCE)
        assert list(store.events()) == ["@releaseDomain"]
        assert list(store.events()) == []


def test_an_event_between_request_and_reply_is_kept(dom0: Dom0) -> None:
    dom0.domain(HVM)
    with Xenstore.open(dom0.root) as store:
        store.watch("@releaseDomain")
        assert store.read(f"/local/domain/{DOMID}/name") == "mine"
        dom0.fire(b"@releaseDomain")
        assert store.read(f"/local/domain/{DOMID}/name") == "mine"
        assert list(store.events()) == ["@releaseDomain"] * 2


def test_nobody_at_the_socket_is_told_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="xenstored does not run") as told:
        Xenstore.open(tmp_path)
    assert "systemctl" in told.value.way_out


def test_a_xenstored_that_does_not_answer_is_told_in_time(tmp_path: Path) -> None:
    mute = Dom0(tmp_path, mute=True)
    with pytest.raises(MachineError, match=r"has not answered for 0\.2 s"):
        Xenstore.open(tmp_path, seconds=0.2)
    mute.close()


def test_a_xenstored_that_ends_is_told(dom0: Dom0) -> None:
    with Xenstore.open(dom0.root) as store:
        dom0.hang_up()
        with pytest.raises(MachineError, match="xenstored has gone"):
            store.read("/local")


def test_an_end_while_watching_is_told_too(dom0: Dom0) -> None:
    with Xenstore.open(dom0.root) as store:
        dom0.hang_up()
        assert is_ready(store.fileno(), PATIENCE)
        with pytest.raises(MachineError, match="xenstored has gone"):
            list(store.events())
