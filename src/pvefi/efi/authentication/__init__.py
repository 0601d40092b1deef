# SPDX-License-Identifier: GPL-2.0-or-later
"""Who may write authenticated variables: descriptors, signatures, and whose signature counts."""
