# SPDX-License-Identifier: GPL-2.0-or-later
"""How xenstored is spoken to: xen/include/public/io/xs_wire.h, docs/misc/xenstore.txt."""

from __future__ import annotations

from pvefi.layout import U32, OpenEnum, Structure, layout

__all__ = [
    "ABSOLUTE_PATH_AT_MOST",
    "PAYLOAD_AT_MOST",
    "RELEASE_DOMAIN",
    "XenstoreHeader",
    "XenstoreMessage",
]

PAYLOAD_AT_MOST = 4096
"""XENSTORE_PAYLOAD_MAX."""
ABSOLUTE_PATH_AT_MOST = 3072
"""XENSTORE_ABS_PATH_MAX."""
RELEASE_DOMAIN = "@releaseDomain"
"""The special watch that fires when any domain shuts down, dies or is gone."""


class XenstoreMessage(OpenEnum):
    """XS_*: the types of messages that are used here."""

    DIRECTORY = 1
    READ = 2
    WATCH = 4
    WATCH_EVENT = 15
    ERROR = 16


@layout(size=16)
class XenstoreHeader(Structure):
    """xsd_sockmsg, in front of `len` bytes; a reply has the `req_id` of its request."""

    type: U32
    req_id: U32
    tx_id: U32
    len: U32
