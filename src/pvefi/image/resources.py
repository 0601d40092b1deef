# SPDX-License-Identifier: GPL-2.0-or-later
"""Summarises what the sections of a unified kernel image hold, each in one line, whatever is in them.

Sources: UAPI.5 "UKI Components", os-release(5), the Devicetree Specification 0.4 "Flattened Devicetree (DTB)
Format", Microsoft "Bitmap Storage" (BITMAPINFOHEADER).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import shlex
import struct
from collections.abc import Callable

from pvefi.image.initrd import initrd_parts
from pvefi.spec.uki import Resource

__all__ = ["os_release", "resource_text"]

_TEXT_READ = 64 << 10
_PCR_SIGNATURES_READ = 4 << 20
_LINE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)")
_OS_RELEASE_SHOWN = ("PRETTY_NAME", "ID", "VERSION_ID", "IMAGE_VERSION", "BUILD_ID")
_PROFILE_SHOWN = ("ID", "TITLE")
_BMP = struct.Struct("<2sI4xIIiiHH")  # file header, then BITMAPINFOHEADER up to biBitCount
_FDT = struct.Struct(">10I")
_FDT_MAGIC = 0xD00DFEED
_FDT_BEGIN_NODE, _FDT_PROP, _FDT_NOP = 1, 3, 4
_FDT_MAX_PROPERTIES = 64
_PEM = re.compile(rb"-----BEGIN PUBLIC KEY-----(.*?)-----END PUBLIC KEY-----", re.DOTALL)


def resource_text(kind: Resource, data: bytes) -> str:
    """Return in one line what `data`, the content of such a section, says; "" when it says nothing."""
    describe = _DESCRIBE.get(kind)
    return describe(data) if describe is not None else ""


def os_release(text: str) -> dict[str, str]:
    """Return the assignments of an os-release file; lines that are none are passed over."""
    found = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line.strip())
        if match is None:
            continue
        try:
            words = shlex.split(match[2])
        except ValueError:
            words = [match[2]]
        found[match[1]] = " ".join(words)
    return found


def _text(data: bytes) -> str:
    return data[:_TEXT_READ].rstrip(b"\0").decode("utf-8", "backslashreplace").strip()


def _assignments(data: bytes, names: tuple[str, ...]) -> str:
    values = os_release(_text(data))
    shown = [f"{name}={values[name]}" for name in names if name in values]
    return ", ".join(shown) or f"{len(values)} assignments"


def _os_release(data: bytes) -> str:
    return _assignments(data, _OS_RELEASE_SHOWN)


def _profile(data: bytes) -> str:
    return _assignments(data, _PROFILE_SHOWN)


def _initrd(data: bytes) -> str:
    return ", then ".join(initrd_parts(data)) or "no cpio archive"


def _splash(data: bytes) -> str:
    if len(data) < _BMP.size or not data.startswith(b"BM"):
        return "no BMP image"
    _, _, _, _, width, height, _, bits = _BMP.unpack_from(data)
    return f"BMP, {width} x {abs(height)}, {bits} bits per pixel"


def _pcr_signatures(data: bytes) -> str:
    try:
        banks = json.loads(data[:_PCR_SIGNATURES_READ].rstrip(b"\0"))
        counts = {str(bank): len(policies) for bank, policies in banks.items()}
    except (ValueError, AttributeError, TypeError, RecursionError):
        return "not the JSON of PCR signatures"
    return ", ".join(f"{bank}: {count} signed policies" for bank, count in counts.items()) or "no banks"


def _public_key(data: bytes) -> str:
    from pvefi.image.pkcs7 import public_key_text

    found = _PEM.search(data[:_TEXT_READ])
    if found is None:
        return "no public key in PEM"
    try:
        return public_key_text(base64.b64decode(found[1]))
    except (binascii.Error, ValueError, TypeError, KeyError):
        return "a public key that cannot be read"


def _device_tree(data: bytes) -> str:
    if len(data) < _FDT.size or _FDT.unpack_from(data)[0] != _FDT_MAGIC:
        return "no device tree"
    _, total, structure, strings, _, version, *_ = _FDT.unpack_from(data)
    try:
        properties = _root_properties(data, structure, strings)
    except (struct.error, ValueError):
        return f"device tree, version {version}, {total} bytes, damaged"
    told = [properties[name] for name in ("model", "compatible") if properties.get(name)]
    return f"device tree, version {version}" + "".join(f", {text}" for text in told)


def _root_properties(data: bytes, structure: int, strings: int) -> dict[str, str]:
    """Return the properties of the root node, which stand before its children."""
    found: dict[str, str] = {}
    at = structure
    (token,) = struct.unpack_from(">I", data, at)
    if token != _FDT_BEGIN_NODE:
        return found
    at = _aligned(data.index(b"\0", at + 4) + 1)
    while len(found) < _FDT_MAX_PROPERTIES:
        (token,) = struct.unpack_from(">I", data, at)
        at += 4
        if token == _FDT_NOP:
            continue
        if token != _FDT_PROP:
            break
        size, name_at = struct.unpack_from(">II", data, at)
        start = strings + name_at
        name = data[start : data.index(b"\0", start)].decode("ascii", "backslashreplace")
        found[name] = _text(data[at + 8 : at + 8 + size].rstrip(b"\0").replace(b"\0", b" "))
        at = _aligned(at + 8 + size)
    return found


def _aligned(size: int) -> int:
    return (size + 3) & -4


_DESCRIBE: dict[Resource, Callable[[bytes], str]] = {
    Resource.TEXT: _text,
    Resource.OS_RELEASE: _os_release,
    Resource.INITRD: _initrd,
    Resource.SPLASH: _splash,
    Resource.DEVICE_TREE: _device_tree,
    Resource.PCR_SIGNATURES: _pcr_signatures,
    Resource.PUBLIC_KEY: _public_key,
    Resource.PROFILE: _profile,
}
