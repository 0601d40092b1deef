# SPDX-License-Identifier: GPL-2.0-or-later
"""Fault injection: every call of a boot, with everything that the specification lets go wrong with it.

`plan` says what is tried, from the calls of a boot without faults; `run` tries it, as branches of that boot;
`findings` says what came of each; `document` and `tables` are what programs and people read.
"""
