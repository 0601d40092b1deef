# SPDX-License-Identifier: GPL-2.0-or-later
"""Modules of real packages, the order in which they are loaded, and files that only look like modules."""

from __future__ import annotations

import lzma
import struct
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvefi.errors import ImageError
from pvefi.probe.initrd import MODULE_GROUPS, built_in_names, kernel_modules
from pvefi.probe.modules import Module, load_order, read_module
from tests.conftest import RealFiles

PATH = Path("a.ko")
NAMES = b"\0.modinfo\0.strings\0"


def elf(modinfo: bytes, *, kind: int = 1, ident: bytes = b"\x7fELF\2\1\1", sections: int = 3) -> bytes:
    """Return an ELF file of a section .modinfo and one of names; `kind` is its e_type."""
    at = 64 + 3 * 64
    numbers = (kind, 62, 1, 0, 0, 64, 0, 64, 0, 0, 64, sections, 2)
    header = ident.ljust(16, b"\0") + struct.pack("<HHIQQQIHHHHHH", *numbers)

    def section(name: int, offset: int, size: int) -> bytes:
        return struct.pack("<IIQQQQIIQQ", name, 1, 0, 0, offset, size, 0, 0, 1, 0)

    places = bytes(64) + section(1, at, len(modinfo)) + section(10, at + len(modinfo), len(NAMES))
    return header + places + modinfo + NAMES


INFO = b"license=GPL\0depends=b,c\0name=a\0vermagic=6.1.0-1-cloud SMP preempt\0\0"
WHOLE = elf(INFO)


@pytest.mark.parametrize("data", [WHOLE, lzma.compress(WHOLE)], ids=["plain", "xz"])
def test_a_module_says_its_name_its_needs_and_its_kernel(data: bytes) -> None:
    assert read_module(PATH, data) == Module("a", ("b", "c"), "6.1.0-1-cloud", WHOLE)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "expected a module of 64 bits"),
        (b"#!/bin/sh\n" * 100, "expected a module of 64 bits"),
        (elf(INFO, ident=b"\x7fELF\1\1\1"), "expected a module of 64 bits"),
        (elf(INFO, kind=2), "expected a relocatable file"),
        (elf(INFO, sections=2), "cut short"),
        (WHOLE[:100], "cut short"),
        (elf(b"license=GPL\0"), "expected the name of a module"),
        (WHOLE.replace(b".modinfo", b".modonfi"), "expected a section .modinfo"),
        (lzma.compress(WHOLE)[:-20] + b"damaged!" * 3, "damaged xz"),
    ],
)
def test_what_is_no_module_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        read_module(PATH, data)


@given(st.binary(max_size=300), st.integers(0, len(WHOLE)))
def test_no_bytes_but_a_module_or_a_refusal(noise: bytes, at: int) -> None:
    try:
        read_module(PATH, WHOLE[:at] + noise + WHOLE[at + len(noise) :])
    except ImageError:
        return


def some(**needs: str) -> Mapping[str, Module]:
    return {name: Module(name, tuple(text.split()), "6.1", b"") for name, text in needs.items()}


def test_each_module_comes_after_all_it_needs() -> None:
    modules = some(blk="ring virtio", pci="ring modern virtio", ring="virtio", modern="", virtio="")
    assert load_order(["pci", "blk"], modules) == ("virtio", "ring", "modern", "pci", "blk")


def test_what_is_built_in_is_not_loaded() -> None:
    assert load_order(["blk"], some(blk="ring"), frozenset({"ring"})) == ("blk",)
    assert load_order(["blk"], {}, frozenset({"blk"})) == ()


def test_a_module_that_is_nowhere_is_named_with_who_needs_it() -> None:
    with pytest.raises(LookupError, match="module virtio, which ring needs"):
        load_order(["blk"], some(blk="ring", ring="virtio"))


def test_modules_that_need_each_other_are_refused() -> None:
    with pytest.raises(LookupError, match="a needs itself, by a, b"):
        load_order(["a"], some(a="b", b="a"))


@pytest.mark.parametrize("kernel", ["cloud", "amd64", "cloud-6.12"])
def test_real_kernels_have_all_that_the_probe_loads(corpus: RealFiles, kernel: str) -> None:
    files = corpus.files(f"{kernel}-modules")
    modules = kernel_modules(files)
    built_in = built_in_names(next(path for path in files if path.name == "modules.builtin").read_text())
    release = corpus.file(kernel, "boot/vmlinuz-*").name.removeprefix("vmlinuz-")
    for wanted in MODULE_GROUPS.values():
        order = load_order(wanted, modules, built_in)
        for number, name in enumerate(order):
            assert modules[name].release == release
            assert set(modules[name].needs) <= {*order[:number], *built_in}
