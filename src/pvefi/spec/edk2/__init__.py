# SPDX-License-Identifier: GPL-2.0-or-later
"""What edk2, the firmware that most machines and OVMF are built from, keeps in flash memory."""
