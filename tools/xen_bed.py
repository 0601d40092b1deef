#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A real Xen with a running dom0 in QEMU, for tests and for trying things out; no hardware for it, no root.

    .venv/bin/python tools/xen_bed.py run 'xl info' 'pvefi doctor'

runs shell commands in a dom0 that has the pvefi of this tree; Xen runs its guests by AMD's SVM, which QEMU
emulates. A dom0 is started once (its parts are made by tools/xen_image.py) and its state kept in the cache,
with pvefi loaded; each goes on from there, in a second or two, and nothing is left of it when it is closed or
its process ends.
Runs in pvefi's environment.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from corpus import CorpusError, Progress, cache_folder
from pvefi.errors import MachineError, PvefiError
from xen_image import Dom0Image, byte_compile, dom0_image, short_hash
from xen_jobs import KEPT_OF_CONSOLE, Dom0
from xen_machine import MEMORY, Dom0Error, Machine, command

__all__ = ["resume"]

START_SECONDS = 300.0
RESUME_SECONDS = 120.0
UNUSED_SECONDS = {"dom0-*": 86400, "state-*": 86400, "loaded-*": 3600, ".part-*": 86400}
KEPT_LOADED, BEING_LOADED_SECONDS = 2, 120.0
"""How many states with pvefi loaded are kept, and how long one may take from its choice to its use."""
SOURCE = Path(__file__).resolve().parent.parent / "src" / "pvefi"


def resume(memory: int = MEMORY, image: Dom0Image | None = None) -> Dom0:
    """Return a fresh dom0 with `memory` MiB in its machine, and this tree's pvefi in it, loaded.

    Dom0Error when there is none to be had; CorpusError when its parts are not.
    """
    if image is None:
        with _locked(cache_folder() / "xen"):
            image = dom0_image()
    for _ in range(2):
        state = _loaded_state(image, memory)
        dom0 = Dom0(Machine(image, memory, state))
        mount = "mkdir -p /host && mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 host /host"
        try:
            dom0.done(f"date -s @{time.time():.0f} && {mount}", seconds=RESUME_SECONDS)
        except Dom0Error as error:
            dom0.close()
            Progress("xen").say(f"a saved dom0 does not go on ({error}): a new one is started")
            state.unlink(missing_ok=True)
            _base_file(image, memory).unlink(missing_ok=True)
        except BaseException:
            dom0.close()
            raise
        else:
            return dom0
    raise Dom0Error("expected a dom0 to go on from its saved state, found that it does not")


def _base_file(image: Dom0Image, memory: int) -> Path:
    """Return where the state of a dom0 stands that has just started."""
    try:
        version = subprocess.run(
            ["qemu-system-x86_64", "--version"],
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        ).stdout
    except OSError as error:
        raise Dom0Error(f"qemu-system-x86_64 cannot be run: {error.strerror}") from None
    # The machine's clock is the host's: a dom0 measures its frequency when it starts.
    told = [image.key, version, command(image, memory, Path("share")), _processor()]
    return cache_folder() / "xen" / f"state-{short_hash(told)}"


def _loaded_state(image: Dom0Image, memory: int) -> Path:
    """Return the state of a dom0 that has this tree's pvefi loaded, made from the one before it."""
    base = _base_file(image, memory)
    files = sorted(path for path in SOURCE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    told = hashlib.sha256(base.name.encode())
    for path in files:
        told.update(str(path.relative_to(SOURCE)).encode() + b"\0")
        told.update(hashlib.sha256(path.read_bytes()).digest())
    file = base.with_name(f"loaded-{told.hexdigest()[:16]}")
    with _locked(base.parent):
        if not file.exists():
            _remove_unused(base.parent)
            _load(image, memory, base, file, _archive(image, files))
        for path in (image.folder, base, file):
            with contextlib.suppress(FileNotFoundError):
                os.utime(path)
    return file


def _load(image: Dom0Image, memory: int, base: Path, file: Path, archive: bytes) -> None:
    """Make the state `file` from `base`, which is made when it is not there or does not go on."""
    if base.exists():
        try:
            return _save(image, memory, base, file, lambda dom0: dom0.load_pvefi(archive))
        except Dom0Error as error:
            why = str(error).partition("\n")[0]
            Progress("xen").say(f"a saved dom0 does not go on ({why}): a new one is started")
            base.unlink(missing_ok=True)
    _save(image, memory, None, base, lambda dom0: dom0.first_answer(START_SECONDS))
    return _save(image, memory, base, file, lambda dom0: dom0.load_pvefi(archive))


def _save(
    image: Dom0Image, memory: int, base: Path | None, file: Path, prepare: Callable[[Dom0], None]
) -> None:
    """Keep the state of a dom0 that `prepare` has prepared, which goes on from `base` or starts."""
    progress = Progress("xen")
    progress.say("loading pvefi in a dom0" if base else "starting a dom0")
    began = time.monotonic()
    dom0 = Dom0(Machine(image, memory, base))
    part = file.with_name(f".part-{file.name}")
    try:
        prepare(dom0)
        dom0.save(part)
        part.replace(file)
    except (Dom0Error, MachineError) as error:
        raise Dom0Error(f"{error}\n{dom0.console[-KEPT_OF_CONSOLE:]}") from None
    finally:
        dom0.close()
        part.unlink(missing_ok=True)
    size = file.stat().st_size / 1e6
    progress.say(f"that took {time.monotonic() - began:.1f} s; its state is kept, {size:.0f} MB")


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
    """Remove what nobody has used for a day; for an hour, and all but the newest, where pvefi is in it."""
    now = time.time()
    loaded = sorted(folder.glob("loaded-*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in loaded[KEPT_LOADED - 1 :]:  # another is about to be made
        if path.stat().st_mtime < now - BEING_LOADED_SECONDS:
            path.unlink()
    for pattern, seconds in UNUSED_SECONDS.items():
        for path in folder.glob(pattern):
            if path.stat().st_mtime < now - seconds:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _archive(image: Dom0Image, files: Sequence[Path]) -> bytes:
    """Return an archive of this tree's pvefi, byte-compiled for dom0's Python and without its sources."""
    with tempfile.TemporaryDirectory(prefix=".part-", dir=cache_folder() / "xen") as scratch:
        folder = Path(scratch) / "pvefi"
        for path in files:
            target = folder / path.relative_to(SOURCE)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        byte_compile(image.root, folder, "/opt/pvefi", in_place=True)
        for path in folder.rglob("*.py"):
            path.unlink()
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=6) as archive:
            archive.add(folder, "pvefi")
        return packed.getvalue()


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
    except OSError as error:
        print(f"xen: {error.filename or 'the cache'}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("xen: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
