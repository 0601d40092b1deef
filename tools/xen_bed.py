#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A real Xen with a running dom0 in QEMU, for tests and for trying things out; no hardware for it, no root.

    python3 tools/xen_bed.py run 'xl info' 'pvefi doctor'

runs shell commands in a dom0 that has the pvefi of this tree; Xen runs its guests by AMD's SVM, which QEMU
emulates. A dom0 is started once (its parts are made by tools/xen_image.py) and its state kept in the cache;
each goes on from there, in a second or two, and nothing is left of it when it is closed or its process ends.
Runs in pvefi's environment.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from corpus import CorpusError, Progress, cache_folder
from pvefi.errors import MachineError, PvefiError
from xen_image import Dom0Image, byte_compile, dom0_image
from xen_jobs import KEPT_OF_CONSOLE, Dom0
from xen_machine import MEMORY, Dom0Error, Machine, command

__all__ = ["resume"]

START_SECONDS = 120.0
RESUME_SECONDS = 60.0
UNUSED_SECONDS = 7 * 24 * 3600
PATTERNS = ("dom0-*", "state-*", "source-*", ".part-*")
SOURCE = Path(__file__).resolve().parent.parent / "src" / "pvefi"


def resume(memory: int = MEMORY, image: Dom0Image | None = None) -> Dom0:
    """Return a fresh dom0 with `memory` MiB in its machine, and this tree's pvefi in it.

    Dom0Error when there is none to be had; CorpusError when its parts are not.
    """
    image = image or dom0_image()
    state = _state(image, memory)
    dom0 = _resumed(image, memory, state)
    if dom0 is None:
        state.unlink(missing_ok=True)
        dom0 = _resumed(image, memory, _state(image, memory))
    if dom0 is None:
        raise Dom0Error("expected a dom0 to go on from its saved state, found that it does not")
    try:
        dom0.give(_source(image), "pvefi.tar")
        dom0.done(f"date -s @{time.time():.0f} && mkdir -p /opt && tar -xf /host/pvefi.tar -C /opt")
    except BaseException:
        dom0.close()
        raise
    return dom0


def _resumed(image: Dom0Image, memory: int, state: Path) -> Dom0 | None:
    dom0 = Dom0(Machine(image, memory, state))
    mount = "mkdir -p /host && mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 host /host"
    try:
        end = dom0.start(mount, seconds=RESUME_SECONDS).wait()
        if not end.status:
            return dom0
        problem = str(end)
    except Dom0Error as error:
        problem = str(error)
    except BaseException:
        dom0.close()
        raise
    dom0.close()
    Progress("xen").say(f"the saved dom0 does not go on ({problem}): a new one is started")
    return None


def _state(image: Dom0Image, memory: int) -> Path:
    """Return the file with the state of a dom0 that has just started, made when there is none."""
    version = subprocess.run(
        ["qemu-system-x86_64", "--version"],
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    ).stdout
    words = command(image, memory, Path("share"))
    # The machine's clock is the host's: a dom0 measures its frequency when it starts.
    told = [image.key, version, words, _processor()]
    key = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
    folder = cache_folder() / "xen"
    file = folder / f"state-{key}"
    if not file.exists():
        with _locked(folder):
            if not file.exists():
                _remove_unused(folder)
                _make_state(image, memory, file)
    os.utime(file)
    return file


def _make_state(image: Dom0Image, memory: int, file: Path) -> None:
    progress = Progress("xen")
    progress.say("starting a dom0, to keep its state")
    began = time.monotonic()
    dom0 = Dom0(Machine(image, memory, None))
    part = file.with_name(f".part-{file.name}")
    try:
        dom0.first_answer(START_SECONDS)
        started = time.monotonic() - began
        dom0.save(part)
        part.replace(file)
    except (Dom0Error, MachineError) as error:
        raise Dom0Error(f"{error}\n{dom0.console[-KEPT_OF_CONSOLE:]}") from None
    finally:
        dom0.close()
        part.unlink(missing_ok=True)
    progress.say(f"the dom0 was up after {started:.1f} s; {file.stat().st_size / 1e6:.0f} MB are kept")


def _processor() -> str:
    """Return what tells one host processor from another."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return os.uname().machine


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _remove_unused(folder: Path) -> None:
    """Remove what nobody has used for a week: images, states and archives of other versions."""
    oldest = time.time() - UNUSED_SECONDS
    for path in (
        *folder.glob("dom0-*"),
        *folder.glob("state-*"),
        *folder.glob("source-*"),
        *folder.glob(".part-*"),
    ):
        if path.stat().st_mtime < oldest:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _source(image: Dom0Image) -> Path:
    """Return an archive of this tree's pvefi, byte-compiled for dom0's Python; made once for each state."""
    files = sorted(path for path in SOURCE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    told = hashlib.sha256(image.key.encode())
    for path in files:
        told.update(
            str(path.relative_to(SOURCE)).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest()
        )
    kept = cache_folder() / "xen" / f"source-{told.hexdigest()[:16]}.tar"
    if not kept.exists():
        with tempfile.TemporaryDirectory(prefix=".part-", dir=kept.parent) as scratch:
            folder = Path(scratch) / "pvefi"
            for path in files:
                target = folder / path.relative_to(SOURCE)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
            byte_compile(image.root, folder, "/opt/pvefi")
            with tarfile.open(Path(scratch) / "tar", "w") as archive:
                archive.add(folder, "pvefi")
            (Path(scratch) / "tar").replace(kept)
    os.utime(kept)
    return kept


def _show(dom0: Dom0, commands: Sequence[str], seconds: float) -> int:
    status = 0
    for text in commands:
        print(f"--- {text}", flush=True)
        job, shown = dom0.start(f"exec 2>&1; {text}", seconds=seconds), 0
        while True:
            ended = job.ended
            output = job.output()
            sys.stdout.write(output[shown:].decode("utf-8", "replace"))
            sys.stdout.flush()
            shown = len(output)
            if ended:
                break
            time.sleep(0.3)
        end = job.wait()
        status = end.status
        print(
            f"--- {'its time ran out' if end.expired else f'status {status}'}, {end.seconds:.2f} s",
            flush=True,
        )
    return min(abs(status), 125)


def main(words: list[str]) -> int:
    """Run commands in a dom0; the exit status is the last one's, or 1 with one line on stderr."""
    parser = argparse.ArgumentParser(prog="tools/xen_bed.py", description="Commands in a real dom0, in QEMU.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="run shell commands in a fresh dom0")
    run.add_argument("commands", nargs="+", metavar="COMMAND")
    run.add_argument("--give", action="append", default=[], type=Path, metavar="FILE", help="as /host/NAME")
    run.add_argument("--seconds", type=float, default=300.0, metavar="N", help="at most, each command")
    run.add_argument("--memory", type=int, default=MEMORY, metavar="MIB", help="of the whole machine")
    run.add_argument("--console", type=Path, metavar="FILE", help="keep what Xen and dom0's kernel say")
    given = parser.parse_args(words)
    try:
        with resume(given.memory) as dom0:
            try:
                for file in given.give:
                    dom0.give(file)
                return _show(dom0, given.commands, given.seconds)
            finally:
                if given.console:
                    given.console.write_text(dom0.console)
    except (CorpusError, Dom0Error, PvefiError) as error:
        print(f"xen: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("xen: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
