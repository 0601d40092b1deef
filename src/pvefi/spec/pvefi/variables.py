# SPDX-License-Identifier: GPL-2.0-or-later
"""The variable in which pvefi keeps what no other firmware's variable has a place for."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["SECURE_BOOT_MODE", "StoredMode"]

SECURE_BOOT_MODE = "SecureBootMode"
"""Under PVEFI_VARIABLE: one byte, a StoredMode; absent in setup mode and in user mode."""


class StoredMode(IntEnum):
    """Which of the modes of Secure Boot the presence of PK alone does not tell."""

    AUDIT = 1  # counts while there is no PK
    DEPLOYED = 2  # counts while there is one
    TO_AUDIT = 3  # as AUDIT while there is no PK; while there is one, nothing has changed yet
