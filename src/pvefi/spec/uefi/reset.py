# SPDX-License-Identifier: GPL-2.0-or-later
"""The kinds of a reset — UEFI 2.10 §8.5.1."""

from __future__ import annotations

from typing import Annotated

from pvefi.layout import OpenEnum, Scalar

__all__ = ["RESET_TYPE", "ResetType"]


class ResetType(OpenEnum):
    """EFI_RESET_TYPE — UEFI 2.10 §8.5.1."""

    COLD = 0
    WARM = 1
    SHUTDOWN = 2
    PLATFORM_SPECIFIC = 3


RESET_TYPE = Annotated[ResetType, Scalar("I")]
