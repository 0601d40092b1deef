# SPDX-License-Identifier: GPL-2.0-or-later
"""Run many tasks at once: on this host's CPUs, or on a cluster."""
