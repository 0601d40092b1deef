# SPDX-License-Identifier: GPL-2.0-or-later
"""Finding OVMF: by description, at the usual places, and never one that runs only what is signed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pvefi.errors import MachineError
from pvefi.machines.qemu.ovmf import Ovmf, find_ovmf


@pytest.fixture(autouse=True)
def _no_descriptions_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def files(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"firmware")


def describe(root: Path, name: str, *, folder: str = "usr/share/qemu/firmware", **changes: Any) -> None:
    """Write a description of /fw/NAME.code and /fw/NAME.vars, which are made too."""
    mapping = {
        "device": "flash",
        "executable": {"filename": f"/fw/{name}.code", "format": "raw"},
        "nvram-template": {"filename": f"/fw/{name}.vars", "format": "raw"},
    }
    description = {
        "interface-types": ["uefi"],
        "mapping": mapping | changes.pop("mapping", {}),
        "targets": [{"architecture": "x86_64", "machines": ["pc-i440fx-*", "pc-q35-*"]}],
        "features": ["acpi-s3"],
    }
    (root / folder).mkdir(parents=True, exist_ok=True)
    (root / folder / f"{name}.json").write_text(json.dumps(description | changes))
    files(root, f"fw/{name}.code", f"fw/{name}.vars")


def found(root: Path, machine_type: str = "q35") -> str:
    """Return the name of what is found."""
    ovmf = find_ovmf(machine_type, root)
    assert ovmf.variables == ovmf.code.with_suffix(".vars")
    return ovmf.code.stem


def test_the_first_description_by_name_is_taken(tmp_path: Path) -> None:
    describe(tmp_path, "50-b")
    describe(tmp_path, "40-a")
    files(tmp_path, "usr/share/OVMF/OVMF_CODE_4M.fd", "usr/share/OVMF/OVMF_VARS_4M.fd")
    assert found(tmp_path) == "40-a"


@pytest.mark.parametrize(
    "changes",
    [
        {"features": ["requires-smm", "secure-boot"]},
        {"features": ["enrolled-keys"]},
        {"interface-types": ["bios"]},
        {"targets": [{"architecture": "aarch64", "machines": ["virt-*"]}]},
        {"targets": [{"architecture": "x86_64", "machines": ["microvm"]}]},
        {"mapping": {"device": "memory"}},
        {"mapping": {"mode": "stateless"}},
        {"mapping": {"nvram-template": None}},
        {"mapping": {"executable": {"filename": "/fw/10-other.code", "format": "vmdk"}}},
        {"mapping": {"executable": {"filename": "/fw/none", "format": "raw"}}},
        {"mapping": {"executable": {"filename": 5, "format": ["raw"]}}},
        {"features": [["acpi"], {}, None], "targets": {"architecture": 5}},
    ],
    ids=str,
)
def test_a_description_that_does_not_fit_is_passed_over(tmp_path: Path, changes: dict[str, Any]) -> None:
    describe(tmp_path, "10-other", **changes)
    describe(tmp_path, "60-plain")
    assert found(tmp_path) == "60-plain"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, '"x"', "\xff"])
def test_a_description_that_is_none_is_passed_over(tmp_path: Path, text: str) -> None:
    describe(tmp_path, "60-plain")
    (tmp_path / "usr/share/qemu/firmware/10-bad.json").write_text(text, encoding="latin-1")
    assert found(tmp_path) == "60-plain"


def test_the_administrator_s_description_hides_the_package_s(tmp_path: Path) -> None:
    describe(tmp_path, "40-a")
    describe(tmp_path, "50-b")
    (tmp_path / "etc/qemu/firmware").mkdir(parents=True)
    (tmp_path / "etc/qemu/firmware/40-a.json").touch()
    assert found(tmp_path) == "50-b"


def test_the_user_s_description_comes_first(tmp_path: Path) -> None:
    describe(tmp_path, "40-a")
    describe(tmp_path, "40-a", folder="config/qemu/firmware", features=["enrolled-keys"])
    describe(tmp_path, "50-b")
    assert found(tmp_path) == "50-b"


def test_machine_types_are_told_apart(tmp_path: Path) -> None:
    describe(tmp_path, "40-q35", targets=[{"architecture": "x86_64", "machines": ["pc-q35-*"]}])
    describe(tmp_path, "50-both")
    assert found(tmp_path, "q35") == "40-q35"
    assert found(tmp_path, "pc") == "50-both"


def test_formats_are_passed_on(tmp_path: Path) -> None:
    image = {"filename": "/fw/40-a.code", "format": "qcow2"}
    describe(tmp_path, "40-a", mapping={"executable": image, "mode": "split"})
    assert find_ovmf("q35", tmp_path).code_format == "qcow2"


@pytest.mark.parametrize(
    ("code", "variables", "kind"),
    [
        ("usr/share/OVMF/OVMF_CODE_4M.fd", "usr/share/OVMF/OVMF_VARS_4M.fd", "raw"),
        (
            "usr/share/edk2/ovmf/OVMF_CODE_4M.qcow2",
            "usr/share/edk2/ovmf/OVMF_VARS_4M.qcow2",
            "qcow2",
        ),
        ("usr/share/edk2/x64/OVMF_CODE.4m.fd", "usr/share/edk2/x64/OVMF_VARS.4m.fd", "raw"),
    ],
)
def test_without_descriptions_the_usual_places_are_looked_at(
    tmp_path: Path, code: str, variables: str, kind: str
) -> None:
    files(tmp_path, "usr/share/OVMF/OVMF_CODE.fd", code, variables)
    assert find_ovmf("pc", tmp_path) == Ovmf(tmp_path / code, tmp_path / variables, kind, kind)


def test_none_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: {"ID": "debian"})
    with pytest.raises(MachineError, match="no OVMF for the machine q35 found") as caught:
        find_ovmf("q35", tmp_path)
    assert caught.value.way_out == "apt-get install ovmf"


def test_microvm_has_none(tmp_path: Path) -> None:
    describe(tmp_path, "40-a")
    with pytest.raises(MachineError, match=r"no build for the machine microvm \(take q35 or pc\)"):
        find_ovmf("microvm", tmp_path)


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_the_one_whose_store_is_as_large_as_the_user_s_is_taken(tmp_path: Path, kind: str) -> None:
    for name, size in (("40-large", 0x84000), ("50-small", 0x20000)):
        describe(tmp_path, name)
        header = b"QFI\xfb".ljust(24, b"\0") + size.to_bytes(8, "big")
        contents = header if kind == "qcow2" else bytes(size)
        (tmp_path / f"fw/{name}.vars").write_bytes(contents)
        path = tmp_path / f"usr/share/qemu/firmware/{name}.json"
        path.write_text(path.read_text().replace('"raw"', f'"{kind}"'))
    assert find_ovmf("q35", tmp_path).code.name == "40-large.code"
    assert find_ovmf("q35", tmp_path, store_size=0x20000).code.name == "50-small.code"
    with pytest.raises(MachineError, match="no OVMF with a variable store of 4096 bytes for the machine q35"):
        find_ovmf("q35", tmp_path, store_size=4096)
