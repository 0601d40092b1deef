# SPDX-License-Identifier: GPL-2.0-or-later
"""The EFI environment: services, tables, memory, handles, events, on the host's side."""
