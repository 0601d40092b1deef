# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes `python -m pvefi` the same as the command `pvefi`."""

from __future__ import annotations

import sys

from pvefi.cli import main

if __name__ == "__main__":
    sys.exit(main())
