# SPDX-License-Identifier: GPL-2.0-or-later
"""The protocol interfaces that the environment produces, 64-bit, as they lie in guest memory."""

from __future__ import annotations

from typing import Annotated

from pvefi.layout import S32, U8, U32, U64, Ptr, Scalar, Structure, layout
from pvefi.spec.uefi.memory import MemoryType

__all__ = [
    "LOADED_IMAGE_PROTOCOL_REVISION",
    "LoadFile2Protocol",
    "LoadedImageProtocol",
    "RngProtocol",
    "SimpleTextInputProtocol",
    "SimpleTextOutputMode",
    "SimpleTextOutputProtocol",
]

LOADED_IMAGE_PROTOCOL_REVISION = 0x1000  # UEFI 2.10 §9.1.1


@layout(size=96)
class LoadedImageProtocol(Structure):
    """EFI_LOADED_IMAGE_PROTOCOL — UEFI 2.10 §9.1.1."""

    revision: U32
    _pad: U32
    parent_handle: U64
    system_table: Ptr
    device_handle: U64
    file_path: Ptr
    reserved: Ptr
    load_options_size: U32
    _pad2: U32
    load_options: Ptr
    image_base: Ptr
    image_size: U64
    image_code_type: Annotated[MemoryType, Scalar("I")]
    image_data_type: Annotated[MemoryType, Scalar("I")]
    unload: Ptr


@layout(size=24)
class SimpleTextInputProtocol(Structure):
    """EFI_SIMPLE_TEXT_INPUT_PROTOCOL — UEFI 2.10 §12.3.1."""

    reset: Ptr
    read_key_stroke: Ptr
    wait_for_key: U64


@layout(size=80)
class SimpleTextOutputProtocol(Structure):
    """EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL — UEFI 2.10 §12.4.1."""

    reset: Ptr
    output_string: Ptr
    test_string: Ptr
    query_mode: Ptr
    set_mode: Ptr
    set_attribute: Ptr
    clear_screen: Ptr
    set_cursor_position: Ptr
    enable_cursor: Ptr
    mode: Ptr


@layout(size=24)
class SimpleTextOutputMode(Structure):
    """SIMPLE_TEXT_OUTPUT_MODE — UEFI 2.10 §12.4.1."""

    max_mode: S32
    mode: S32
    attribute: S32
    cursor_column: S32
    cursor_row: S32
    cursor_visible: U8
    _pad: U8 = 0
    _pad2: U8 = 0
    _pad3: U8 = 0


@layout(size=8)
class LoadFile2Protocol(Structure):
    """EFI_LOAD_FILE2_PROTOCOL — UEFI 2.10 §13.2."""

    load_file: Ptr


@layout(size=16)
class RngProtocol(Structure):
    """EFI_RNG_PROTOCOL — UEFI 2.10 §37.5."""

    get_info: Ptr
    get_rng: Ptr
