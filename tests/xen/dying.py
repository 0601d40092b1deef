# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs pvefi as a process that is killed, once, while it serves a guest: `dying.py WHEN MARK pvefi's words`.

WHEN is which doorbell that is, and `before` or `after` it is served, such as 12-before; several stand with
commas between. MARK is a file that remembers how many have been reached, so that each kills one process.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path


def main(when: list[str], mark: Path) -> int:
    from pvefi.cli import main as run
    from pvefi.efi.firmware import Firmware
    from pvefi.guest.mailbox import Answer, Request

    serve = Firmware.answer

    def answer(self: Firmware, request: Request) -> Answer:
        die(request, "before")
        answered = serve(self, request)
        die(request, "after")
        return answered

    def die(request: Request, moment: str) -> None:
        reached = mark.read_text().split() if mark.exists() else []
        now = f"{request.seq}-{moment}"
        if now in when and now not in reached:
            mark.write_text(" ".join([*reached, now]))
            os.kill(os.getpid(), signal.SIGKILL)

    Firmware.answer = answer  # type: ignore[method-assign]
    return run(sys.argv[3:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1].split(","), Path(sys.argv[2])))
