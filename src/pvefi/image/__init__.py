# SPDX-License-Identifier: GPL-2.0-or-later
"""From a file to an Image: PE, bzImage, ELF notes; pure, nothing here touches a machine."""
