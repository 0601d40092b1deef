# SPDX-License-Identifier: GPL-2.0-or-later
"""tools/xen_image.py: what stands in the dom0, and the name that it has in the cache."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

import xen_image
from corpus import CorpusError, item_named
from pvefi.probe.cpio import directory, regular_file, symbolic_link
from xen_image import MODULES, PROGRAMS, Dom0Image, package_files, run_python, short_hash


def test_of_a_python_only_what_is_used_is_kept() -> None:
    kept = (
        "usr/lib/python3.11/json/__init__.py",
        "usr/lib/python3.11/lib-dynload/_ctypes.cpython-311-x86_64-linux-gnu.so",
        "usr/lib/python3/dist-packages/rich/console.py",
        "usr/lib/python3/dist-packages/cryptography/hazmat/bindings/_rust.abi3.so",
        "usr/lib/python3.11/test.py",
    )
    dropped = (
        "usr/lib/python3.11/test/support.py",
        "usr/lib/python3.11/lib-dynload/_sqlite3.cpython-311-x86_64-linux-gnu.so",
        "usr/lib/python3/dist-packages/elftools/__pycache__/x.pyc",
    )
    assert tuple(package_files(dict.fromkeys((*kept, *dropped), b""))) == kept


def test_a_name_stands_for_all_that_went_in_and_not_for_its_order() -> None:
    told = {"packages": {"xen": "1", "bash": "2"}, "wheels": ["a", "b"]}
    assert short_hash(told) == short_hash({"wheels": ["a", "b"], "packages": {"bash": "2", "xen": "1"}})
    assert short_hash(told) != short_hash({**told, "wheels": ["a", "c"]})
    assert short_hash(told) != short_hash({**told, "packages": {"xen": "3", "bash": "2"}})


def test_programs_and_modules_are_named_as_the_corpus_and_the_kernel_name_them() -> None:
    for name in PROGRAMS:
        assert item_named(name).name == name
    assert all("-" not in name for name in MODULES)


def test_a_folder_and_its_archive_hold_the_same(tmp_path: Path) -> None:
    entries = (
        directory("empty"),
        regular_file("usr/bin/program", b"first", executable=True),
        regular_file("usr/bin/program", b"program", executable=True),
        symbolic_link("usr/bin/other", "program"),
        regular_file("text", b"text"),
    )
    xen_image._write(tmp_path, entries)
    read = {entry.name: entry for entry in xen_image._read(tmp_path)}
    assert set(read) == {"empty", "text", "usr", "usr/bin", "usr/bin/other", "usr/bin/program"}
    assert read["usr/bin/program"].data == b"program"
    assert stat.S_IMODE(read["usr/bin/program"].mode) == 0o755
    assert stat.S_IMODE(read["text"].mode) == 0o644
    assert read["usr/bin/other"].data == b"program"


def test_a_python_that_does_not_run_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"the dom0's Python does not run on this host: .*No such file"):
        run_python(tmp_path, "-c", "pass")


def test_the_files_of_an_image_stand_in_its_folder(tmp_path: Path) -> None:
    image = Dom0Image(tmp_path / "dom0-0123")
    assert image.key == "dom0-0123"
    files = {image.xen, image.xen_efi, image.kernel, image.initrd, image.root}
    assert {path.parent for path in files} == {image.folder}
    assert len(files) == 5
