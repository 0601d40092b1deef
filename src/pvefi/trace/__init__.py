# SPDX-License-Identifier: GPL-2.0-or-later
"""Every service call as one typed event, written as JSON lines and read like strace."""
