# SPDX-License-Identifier: GPL-2.0-or-later
"""How a service refuses: the status is for the guest, the reason for the trace."""

from __future__ import annotations

from pvefi.spec.uefi.status import EfiStatus

__all__ = ["EfiError", "invalid", "violation"]


class EfiError(Exception):
    """A service's answer other than EFI_SUCCESS; `why` goes to the trace, never to the guest."""

    def __init__(self, status: EfiStatus, why: str) -> None:
        super().__init__(f"{status.efi_name}: {why}")
        self.status = status
        self.why = why


def invalid(why: str) -> EfiError:
    """Return an INVALID_PARAMETER."""
    return EfiError(EfiStatus.INVALID_PARAMETER, why)


def violation(why: str) -> EfiError:
    """Return a SECURITY_VIOLATION."""
    return EfiError(EfiStatus.SECURITY_VIOLATION, why)
