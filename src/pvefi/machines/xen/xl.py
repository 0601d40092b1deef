# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs xl, the program that makes and ends Xen's domains, each time for a bounded time."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pvefi.errors import MachineError

__all__ = ["Xl", "find_xl"]

_SEARCHED = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where xl is when it is not on PATH."""
_CREATE, _ANY = 120.0, 30.0
"""Seconds that xl may take: to make a domain, with scripts for its devices, and for all else."""
_TIDY = 15.0
"""Seconds that it has to end what it is at, when the user does not want to wait."""
_PLACE = re.compile(r"^libxl: error: \S+\.c:\d+:\w+: ")
"""Where in libxl's source an error comes from."""
_FAILED = "is it hung? look at xenstored, and at /var/log/xen"


@dataclass(frozen=True)
class Xl:
    """The program; MachineError quotes what it complains about last."""

    program: Path

    def create(self, config: Path, seconds: float = _CREATE) -> None:
        """Make the domain that the file describes, paused; no process stays behind to look after it."""
        self._run("create", "-p", "-e", "-q", str(config), seconds=seconds)

    def unpause(self, domid: int, seconds: float = _ANY) -> None:
        """Let a domain run."""
        self._run("unpause", str(domid), seconds=seconds)

    def destroy(self, domid: int, seconds: float = _ANY) -> None:
        """End a domain at once, with its devices."""
        self._run("destroy", str(domid), seconds=seconds)

    def configuration(self, domid: int, seconds: float = _ANY) -> object:
        """Return what a domain was made of, as libxl's JSON has it."""
        text = self._run("list", "-l", str(domid), seconds=seconds)
        try:
            return json.loads(text)
        except ValueError as error:
            raise MachineError(f"{self.program} list -l: expected JSON, found {text[:60]!r}") from error

    def _run(self, *words: str, seconds: float) -> str:
        """Run it and return its standard output."""
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            try:
                process = subprocess.Popen(
                    [str(self.program), *words],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=errors,
                    start_new_session=True,  # Ctrl-C is pvefi's to handle
                )
            except OSError as error:
                raise MachineError(f"{self.program} cannot be run: {error.strerror}") from error
            status = _ended(process, seconds)
            output.seek(0)
            errors.seek(0)
            said = errors.read().decode("utf-8", "replace")
            what = f"{self.program.name} {words[0]}"
            if status is None:
                raise MachineError(f"{what} did not end within {seconds:g} s{_quoted(said)}", _FAILED)
            if status:
                how = f"was ended by signal {-status}" if status < 0 else "failed"
                raise MachineError(f"{what} {how}{_quoted(said)}", _way_out(said))
            return output.read().decode("utf-8", "replace")


def find_xl() -> Xl:
    """Return the xl of this host; MachineError when there is none."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_SEARCHED))
    program = shutil.which("xl", path=path)
    if program is None:
        raise MachineError("xl, which makes Xen's domains, is not there", "apt-get install xen-utils")
    return Xl(Path(program))


def _ended(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """Wait for the end and return the status, None when it was killed because time ran out.

    Where the user does not want to wait, xl is still given time to tidy up: half a domain would stay behind.
    """
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        _kill(process)
        return None
    except BaseException:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_TIDY)
        _kill(process)
        raise


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _quoted(said: str) -> str:
    """Return the line of xl's complaints that says most: the first that tells of an error.

    What follows is what came of it, up to the domain that could not be destroyed because it was never made.
    """
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    complaints = [line for line in lines if "warning" not in line.lower()]
    causes = [line for line in complaints if "error" in line.lower() or "fail" in line.lower()] or complaints
    return f": {_PLACE.sub('', causes[0])}" if causes else ""


def _way_out(said: str) -> str:
    low = said.lower()
    if "not enough free memory" in low or "failed to free memory" in low or "cannot allocate memory" in low:
        return "give a smaller --memory, or take memory from dom0: xl mem-set 0 SIZE"
    if "/etc/xen/scripts/" in low:
        return "the end of /var/log/xen/xen-hotplug.log says why"
    return ""
