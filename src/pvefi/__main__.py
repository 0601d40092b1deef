# SPDX-License-Identifier: GPL-2.0-or-later
"""The process `pvefi`, as a command and as `python -m pvefi`.

Imports take a tenth of a second, in which Ctrl-C would show a traceback: until the command line can say
"interrupted", and after it has ended, SIGINT just ends the process.
"""

from __future__ import annotations

import os
import signal
import sys

__all__ = ["main"]

_ASKED_FOR = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not so under nohup
if _ASKED_FOR:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def main() -> int:
    """Run the command line and return the exit status."""
    from pvefi.cli import main as run

    if not _ASKED_FOR:
        return run()
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        status = run()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    except KeyboardInterrupt:  # a second one, while the first was being told
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
        raise
    return status


if __name__ == "__main__":
    sys.exit(main())
