# SPDX-License-Identifier: GPL-2.0-or-later
"""EFI_STATUS — UEFI 2.10 Appendix D."""

from __future__ import annotations

from typing import Annotated

from pvefi.layout import OpenEnum, Scalar

__all__ = ["EFI_STATUS", "EfiStatus"]

_ERROR = 1 << 63  # UEFI 2.10 Appendix D: errors have the highest bit set


class EfiStatus(OpenEnum):
    """A service's or an image's answer; 64 bits wide on x64, any other value is legal from an image."""

    SUCCESS = 0
    WARN_UNKNOWN_GLYPH = 1
    WARN_DELETE_FAILURE = 2
    WARN_WRITE_FAILURE = 3
    WARN_BUFFER_TOO_SMALL = 4
    WARN_STALE_DATA = 5
    WARN_FILE_SYSTEM = 6
    WARN_RESET_REQUIRED = 7
    LOAD_ERROR = _ERROR | 1
    INVALID_PARAMETER = _ERROR | 2
    UNSUPPORTED = _ERROR | 3
    BAD_BUFFER_SIZE = _ERROR | 4
    BUFFER_TOO_SMALL = _ERROR | 5
    NOT_READY = _ERROR | 6
    DEVICE_ERROR = _ERROR | 7
    WRITE_PROTECTED = _ERROR | 8
    OUT_OF_RESOURCES = _ERROR | 9
    VOLUME_CORRUPTED = _ERROR | 10
    VOLUME_FULL = _ERROR | 11
    NO_MEDIA = _ERROR | 12
    MEDIA_CHANGED = _ERROR | 13
    NOT_FOUND = _ERROR | 14
    ACCESS_DENIED = _ERROR | 15
    NO_RESPONSE = _ERROR | 16
    NO_MAPPING = _ERROR | 17
    TIMEOUT = _ERROR | 18
    NOT_STARTED = _ERROR | 19
    ALREADY_STARTED = _ERROR | 20
    ABORTED = _ERROR | 21
    ICMP_ERROR = _ERROR | 22
    TFTP_ERROR = _ERROR | 23
    PROTOCOL_ERROR = _ERROR | 24
    INCOMPATIBLE_VERSION = _ERROR | 25
    SECURITY_VIOLATION = _ERROR | 26
    CRC_ERROR = _ERROR | 27
    END_OF_MEDIA = _ERROR | 28
    END_OF_FILE = _ERROR | 31
    INVALID_LANGUAGE = _ERROR | 32
    COMPROMISED_DATA = _ERROR | 33
    IP_ADDRESS_CONFLICT = _ERROR | 34
    HTTP_ERROR = _ERROR | 35

    @property
    def is_error(self) -> bool:
        """Whether the highest bit says error rather than success or warning."""
        return bool(self._value_ & _ERROR)

    @property
    def efi_name(self) -> str:
        """The name as the specification writes it, or the number when it has none."""
        return f"EFI_{self._name_}" if self.known else f"{self._value_:#x}"


EFI_STATUS = Annotated[EfiStatus, Scalar("Q")]
