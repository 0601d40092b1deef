# SPDX-License-Identifier: GPL-2.0-or-later
"""What one process has to tell another that is to take its domain over."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["HeldDomain"]


@dataclass(frozen=True)
class HeldDomain:
    """A domain and the ioreq server that is its device model; both outlive the process that made them."""

    domid: int
    name: str
    uuid: str
    ioreq_server: int
