# SPDX-License-Identifier: GPL-2.0-or-later
"""`struct screen_info`: the text mode or frame buffer that the boot loader leaves behind.

Source: Linux include/uapi/linux/screen_info.h.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Annotated

from pvefi.layout import U8, U16, U32, Bytes, OpenEnum, Scalar, Structure, layout

__all__ = ["ScreenInfo", "VideoCapability", "VideoType"]


class VideoType(OpenEnum):
    """VIDEO_TYPE_*, those of x86."""

    NONE = 0
    VGA_TEXT = 1  # what arch/x86/boot/video.c leaves in text mode
    MDA = 0x10
    CGA = 0x11
    EGAM = 0x20
    EGAC = 0x21
    VGAC = 0x22
    VLFB = 0x23
    EFI = 0x70


class VideoCapability(IntFlag):
    """VIDEO_CAPABILITY_*."""

    SKIP_QUIRKS = 1 << 0
    BASE_64BIT = 1 << 1  # VIDEO_CAPABILITY_64BIT_BASE


@layout(size=0x40)
class ScreenInfo(Structure):
    """struct screen_info."""

    orig_x: U8  # 0x00
    orig_y: U8  # 0x01
    ext_mem_k: U16  # 0x02
    orig_video_page: U16  # 0x04
    orig_video_mode: U8  # 0x06
    orig_video_cols: U8  # 0x07
    flags: U8  # 0x08
    unused2: U8  # 0x09
    orig_video_ega_bx: U16  # 0x0a
    unused3: U16  # 0x0c
    orig_video_lines: U8  # 0x0e
    orig_video_is_vga: Annotated[VideoType, Scalar("B")]  # 0x0f orig_video_isVGA
    orig_video_points: U16  # 0x10
    lfb_width: U16  # 0x12
    lfb_height: U16  # 0x14
    lfb_depth: U16  # 0x16
    lfb_base: U32  # 0x18
    lfb_size: U32  # 0x1c
    cl_magic: U16  # 0x20
    cl_offset: U16  # 0x22
    lfb_linelength: U16  # 0x24
    red_size: U8  # 0x26
    red_pos: U8  # 0x27
    green_size: U8  # 0x28
    green_pos: U8  # 0x29
    blue_size: U8  # 0x2a
    blue_pos: U8  # 0x2b
    rsvd_size: U8  # 0x2c
    rsvd_pos: U8  # 0x2d
    vesapm_seg: U16  # 0x2e
    vesapm_off: U16  # 0x30
    pages: U16  # 0x32
    vesa_attributes: U16  # 0x34
    capabilities: U32  # 0x36
    ext_lfb_base: U32  # 0x3a
    reserved: Annotated[bytes, Bytes(2)]  # 0x3e
