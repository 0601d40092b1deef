# SPDX-License-Identifier: GPL-2.0-or-later
"""Where domains can be made, by what Linux tells of Xen."""

from __future__ import annotations

from pathlib import Path

import pytest

from pvefi.errors import MachineError
from pvefi.machines.xen.host import is_control_domain, on_xen, require_control_domain, xen_version

DOM0_UUID = "00000000-0000-0000-0000-000000000000"


def host(root: Path, **files: str) -> Path:
    """Return a root with these files, of which a name's double underscores are slashes."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_control_domain_with_its_device_is_one(tmp_path: Path) -> None:
    root = host(
        tmp_path, sys__hypervisor__type="xen\n", proc__xen__capabilities="control_d\n", dev__xen__privcmd=""
    )
    require_control_domain(root)


def test_a_control_domain_is_known_without_xenfs(tmp_path: Path) -> None:
    assert is_control_domain(host(tmp_path, sys__hypervisor__type="xen\n", sys__hypervisor__uuid=DOM0_UUID))
    assert not is_control_domain(host(tmp_path, sys__hypervisor__uuid=DOM0_UUID.replace("0", "1")))


def test_a_host_without_xen_and_a_guest_of_xen_are_told(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="this host does not run on Xen"):
        require_control_domain(tmp_path)
    assert not on_xen(tmp_path)
    with pytest.raises(MachineError, match="a guest of Xen, without control of it"):
        require_control_domain(host(tmp_path, sys__hypervisor__type="xen\n"))


def test_a_device_that_is_missing_or_forbidden_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = host(tmp_path, sys__hypervisor__type="xen\n", proc__xen__capabilities="control_d\n")
    with pytest.raises(MachineError, match="privcmd is not there") as told:
        require_control_domain(root)
    assert told.value.way_out == "modprobe xen-privcmd"
    host(root, dev__xen__privcmd="")
    monkeypatch.setattr("os.access", lambda *_: False)  # root may open everything
    with pytest.raises(MachineError, match="privcmd: no permission") as told:
        require_control_domain(root)
    assert "root" in told.value.way_out


def test_xen_s_version_has_three_parts(tmp_path: Path) -> None:
    assert xen_version(tmp_path).text == ""
    version = xen_version(
        host(
            tmp_path,
            sys__hypervisor__version__major="4\n",
            sys__hypervisor__version__minor="17\n",
            sys__hypervisor__version__extra=".7\n",
        )
    )
    assert (version.text, version.extra) == ("4.17.7", ".7")
