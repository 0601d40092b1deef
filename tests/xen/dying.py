# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs pvefi as a process that is killed, once, while it serves a guest: `dying.py WHEN MARK pvefi's words`.

WHEN is a service call and `before` or `after` it is served: `runtime:GetVariable:2:before` is the second of
that service's after ExitBootServices, `boot:AllocatePages:1:after` the first of the other's before that, and
`any:call:12:before` the twelfth call of all. Several stand with commas between. MARK is a file that remembers
the calls and what has been reached, so that each kills one process.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path


def main(when: list[str], mark: Path) -> int:
    from pvefi.cli import main as run
    from pvefi.efi.environment import Phase
    from pvefi.efi.firmware import Firmware
    from pvefi.guest.mailbox import Answer, Request

    serve = Firmware.answer

    def names(self: Firmware, request: Request) -> list[str]:
        efi = self.environment
        service = efi.gates.service(request.function) if efi else None
        if efi is None or service is None:
            return []
        phase = "runtime" if efi.phase is Phase.RUNTIME else "boot"
        return [f"{phase}:{service.name.rpartition('.')[2]}", "any:call"]

    def answer(self: Firmware, request: Request) -> Answer:
        called = names(self, request)
        die(called, request.seq, "before")
        answered = serve(self, request)
        die(called, request.seq, "after")
        return answered

    def die(called: list[str], seq: int, moment: str) -> None:
        seen = json.loads(mark.read_text()) if mark.exists() else {"reached": []}
        dies = False
        for name in called:
            calls = seen.setdefault(name, [])
            if seq not in calls:
                calls.append(seq)
            now = f"{name}:{calls.index(seq) + 1}:{moment}"
            if now in when and now not in seen["reached"]:
                seen["reached"].append(now)
                dies = True
        mark.write_text(json.dumps(seen))
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)

    Firmware.answer = answer  # type: ignore[method-assign]
    return run(sys.argv[3:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1].split(","), Path(sys.argv[2])))
