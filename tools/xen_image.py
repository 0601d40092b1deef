#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The tests' dom0: Xen, a kernel and an initrd of Debian's Xen tools, made from packages without root.

    .venv/bin/python tools/xen_image.py path

prints the folder in the cache that has it, after building it when it is not there: `xen` (the multiboot file,
not compressed), `xen.efi`, `vmlinux` (Debian's -amd64 kernel, decompressed), `initrd` (cpio, not compressed)
and `root`, the initrd's files, whose Python runs on any x86-64 Linux host. In the initrd are xl and its
daemons, Python 3.11 with what `pvefi boot --machine xen` imports, busybox, efibootmgr and efivar; its first
program is tools/dom0/init. The folder's name is a hash of all that went in: whoever asks twice gets the same.
Runs in pvefi's environment, for pip and pyelftools.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from corpus import Corpus, CorpusError, Progress, cache_folder, library_item
from pvefi.errors import PvefiError
from pvefi.image.inspection import inspect
from pvefi.image.payload import PayloadStream
from pvefi.probe.cpio import Entry, archive, character_device, directory, regular_file, symbolic_link
from pvefi.probe.initrd import built_in_names, kernel_modules
from pvefi.probe.modules import load_order
from pvefi.probe.programs import LIBRARY_FOLDER, program_entries
from xen_wheels import wheel_contents, wheel_files

__all__ = ["Dom0Image", "dom0_image", "package_files", "run_python", "short_hash"]

HERE = Path(__file__).resolve().parent
PROGRAMS = ("xen-utils", "xenstore", "python", "bash", "flock", "efibootmgr", "efivar")
"""Items of the corpus whose programs stand in the initrd, with the libraries they need."""
PYTHON_ITEMS = ("python-minimal", "python-stdlib")
LIBRARIES = (
    *("libgcc_s.so.1", "libxencall.so.1", "libxendevicemodel.so.1", "libxenevtchn.so.1"),
    *("libxenforeignmemory.so.1", "libxengnttab.so.1", "libxentoollog.so.1"),
)
"""What no program in it names, but pvefi loads by name; libgcc_s is what glibc loads to end a thread."""
MODULES = (
    *("xen_privcmd", "xenfs", "xen_evtchn", "xen_gntdev", "xen_gntalloc", "xen_netback", "xen_blkback"),
    *("loop", "efivarfs", "virtio_pci", "virtio_blk", "virtio_console", "9pnet_virtio", "9p"),
)
STORE_VERBS = ("chmod", "exists", "list", "ls", "read", "rm", "watch", "write")
"""What `xenstore` does by its name (Debian xenstore-utils: hard links)."""
PYTHON = "usr/lib/python3.11"
PACKAGES = "usr/lib/python3/dist-packages"
NOT_NEEDED = (
    *("config-3.11-x86_64-linux-gnu", "curses", "dbm", "distutils", "ensurepip", "idlelib", "lib2to3"),
    *("pydoc_data", "sqlite3", "test", "tests", "tkinter", "turtledemo", "unittest", "venv", "wsgiref"),
    *("xmlrpc", "__pycache__", "__phello__", "lexers"),
)
"""Folders of Python packages that nothing imports here; `lexers` is the large part of pygments."""
EXTENSIONS = (
    *("_asyncio", "_bz2", "_contextvars", "_ctypes", "_decimal", "_hashlib", "_json", "_lzma"),
    *("_multiprocessing", "_posixshmem", "_queue", "_uuid", "_zoneinfo", "mmap", "resource", "termios"),
)
"""The extension modules that stand in the initrd, of those in lib-dynload."""
MAKERS = (
    *("xen_image.py", "xen_wheels.py", "corpus.py", "../src/pvefi/image/payload.py"),
    *(f"../src/pvefi/probe/{name}.py" for name in ("cpio", "initrd", "modules", "programs")),
)
"""What makes an image, beside what is in it."""
FOLDERS = ("dev", "proc", "sys", "tmp", "root", "run", "var/lib/xen", "var/log/xen", "usr/sbin", "bin")
"""Folders that have nothing in them."""
LINKS = {"var/run": "/run", "usr/bin/python3": "python3.11"}
DEVICES = (character_device("dev/console", 5, 1), character_device("dev/null", 1, 3))
"""Linux Documentation/admin-guide/devices.txt: what the first program has before devtmpfs is mounted."""
PVEFI = """\
#!/bin/sh
PYTHONPATH=/opt exec python3 -m pvefi "$@"
"""
"""The command pvefi; the package itself is not in the image: it comes into /opt when the dom0 has started."""


@dataclass(frozen=True)
class Dom0Image:
    """The files of a dom0, in one folder whose name is its own for these bytes."""

    folder: Path

    @property
    def key(self) -> str:
        """What names the image: a hash of all that it is made from."""
        return self.folder.name

    @property
    def xen(self) -> Path:
        """Xen as a multiboot file."""
        return self.folder / "xen"

    @property
    def xen_efi(self) -> Path:
        """Xen as an EFI program."""
        return self.folder / "xen.efi"

    @property
    def kernel(self) -> Path:
        """The dom0 kernel, an ELF file."""
        return self.folder / "vmlinux"

    @property
    def initrd(self) -> Path:
        """The dom0's files, a cpio archive."""
        return self.folder / "initrd"

    @property
    def root(self) -> Path:
        """The initrd's files, as a folder."""
        return self.folder / "root"


def dom0_image(corpus: Corpus | None = None) -> Dom0Image:
    """Return the image, built when the cache has none of these packages; CorpusError when parts lack."""
    corpus = corpus or Corpus()
    release = corpus.file("amd64", "boot/vmlinuz-*").name.removeprefix("vmlinuz-")
    for item in ("amd64-modules", "dom0-modules"):
        if any(release not in path.parts for path in corpus.files(item)):
            corpus.files(item, refresh=True)
    wheels = wheel_files(cache_folder() / "xen" / "wheels")
    python = _python_files(corpus, wheels)
    programs = _programs(corpus, python)
    sources = [*(HERE / name for name in MAKERS), *sorted((HERE / "dom0").iterdir())]
    told = {
        "packages": {name: _package_hash(corpus, name) for name in _needed_items(programs)},
        "wheels": [wheel.name for wheel in wheels],
        "sources": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sources},
    }
    folder = cache_folder() / "xen" / f"dom0-{short_hash(told)}"
    if not folder.is_dir():
        _build(folder, corpus, _files(corpus, programs, python))
    return Dom0Image(folder)


def _package_hash(corpus: Corpus, item: str) -> str:
    """Return the hash of the package that an item was made from; it is fetched where it is missing."""
    corpus.files(item)
    return str(corpus.record(item)["deb_sha256"])


def short_hash(told: object) -> str:
    """Return a short hash of what JSON can hold: equal for what is equal, in whatever order."""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def run_python(root: Path, *words: str, seconds: float = 300.0) -> None:
    """Run the Python of an image's root folder on this host; CorpusError when it fails.

    It is what byte-compiles for the dom0, whatever Python the host has.
    """
    loader = [str(root / "lib64/ld-linux-x86-64.so.2"), "--library-path", str(root / LIBRARY_FOLDER)]
    try:
        done = subprocess.run(
            [*loader, str(root / "usr/bin/python3.11"), "-S", "-s", *words],
            check=False,
            env={"PYTHONHOME": str(root / "usr"), "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CorpusError(f"the dom0's Python does not run on this host: {error}") from None
    if done.returncode:
        raise CorpusError(f"the dom0's Python fails: {(done.stdout + done.stderr).strip()[-500:]}")


def byte_compile(root: Path, folder: Path, shown_as: str, *, in_place: bool = False) -> None:
    """Byte-compile all of `folder` by the Python of `root`, for use at the path `shown_as`.

    With `in_place` the compiled file stands beside its source, and can be imported without it.
    """
    words = ("-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", *(["-b"] if in_place else []))
    run_python(root, *words, "-s", str(folder), "-p", shown_as, str(folder))


def package_files(members: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return those files of Python packages that stand in the initrd."""
    return {
        name: data
        for name, data in members.items()
        if not set(PurePosixPath(name).parts[:-1]) & set(NOT_NEEDED)
        and ("lib-dynload" not in name or PurePosixPath(name).name.split(".")[0] in EXTENSIONS)
    }


def _needed_items(programs: tuple[Entry, ...]) -> Iterator[str]:
    """Yield the items of the corpus that an image with these programs is made from."""
    yield from ("amd64", "amd64-modules", "dom0-modules", "xen", "busybox", "xen-scripts")
    yield from (*PYTHON_ITEMS, *PROGRAMS)
    for entry in programs:
        item = library_item(PurePosixPath(entry.name).name)
        if item is not None:
            yield item.name


def _python_files(corpus: Corpus, wheels: Iterable[Path]) -> dict[str, bytes]:
    """Return Python's library, and the packages in wheels, by their paths in the initrd."""
    found = {
        inside: path.read_bytes() for item in PYTHON_ITEMS for inside, path in corpus.members(item).items()
    }
    for wheel in wheels:
        found |= {f"{PACKAGES}/{name}": data for name, data in wheel_contents(wheel).items()}
    return package_files(found)


def _programs(corpus: Corpus, python: Mapping[str, bytes]) -> tuple[Entry, ...]:
    """Return the programs, and the libraries that they and Python's extension modules need."""
    programs = {
        inside: path.read_bytes() for item in PROGRAMS for inside, path in corpus.members(item).items()
    }
    shared = {name: data for name, data in python.items() if ".so" in PurePosixPath(name).suffixes}
    programs |= shared | {f"{LIBRARY_FOLDER}/{name}": _library(corpus, name) for name in LIBRARIES}
    bundled = {PurePosixPath(name).name: data for name, data in shared.items() if ".libs/" in name}
    try:
        return program_entries(programs, lambda name: bundled.get(name) or _library(corpus, name))
    except LookupError as error:
        raise CorpusError(f"the corpus lacks the {error.args[0]}") from None


def _library(corpus: Corpus, name: str) -> bytes:
    found = library_item(name)
    if found is None:
        raise LookupError(name)
    return corpus.file(found.name, f"{name}*").read_bytes()


def _build(folder: Path, corpus: Corpus, files: Iterable[Entry]) -> None:
    progress = Progress("xen")
    progress.say("building the dom0 image from Debian's packages")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=folder.parent) as scratch:
        made = Dom0Image(Path(scratch) / "image")
        made.root.mkdir(parents=True)
        _write(made.root, files)
        for name in (PYTHON, PACKAGES):
            byte_compile(made.root, made.root / name, f"/{name}")
        made.initrd.write_bytes(archive((*_read(made.root), *DEVICES)))
        made.xen.write_bytes(gzip.decompress(corpus.file("xen", "*.gz").read_bytes()))
        shutil.copyfile(corpus.file("xen", "*.efi"), made.xen_efi)
        made.kernel.write_bytes(_decompressed(corpus.file("amd64", "boot/vmlinuz-*")))
        try:
            made.folder.rename(folder)
        except OSError:
            if not folder.is_dir():  # another process may have built the same meanwhile
                raise
    progress.say(f"the dom0 image stands in {folder}")


def _decompressed(kernel: Path) -> bytes:
    payload = inspect(kernel).payload
    if payload is None:
        raise CorpusError(f"{kernel}: expected a kernel with a compressed payload, found none")
    stream = PayloadStream(str(kernel), kernel.read_bytes(), payload)
    return stream.read(0, stream.size)


def _write(root: Path, entries: Iterable[Entry]) -> None:
    for entry in entries:
        path = root / entry.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if stat.S_ISDIR(entry.mode):
            path.mkdir(exist_ok=True)
        elif stat.S_ISLNK(entry.mode):
            path.symlink_to(entry.data.decode())
        else:
            path.write_bytes(entry.data)
            path.chmod(stat.S_IMODE(entry.mode))


def _read(root: Path) -> Iterator[Entry]:
    for path in sorted(root.rglob("*")):
        name, mode = str(path.relative_to(root)), path.lstat().st_mode
        if stat.S_ISLNK(mode):
            yield symbolic_link(name, str(path.readlink()))
        elif stat.S_ISDIR(mode):
            yield directory(name)
        else:
            yield regular_file(name, path.read_bytes(), executable=bool(mode & stat.S_IXUSR))


def _files(corpus: Corpus, programs: tuple[Entry, ...], python: Mapping[str, bytes]) -> Iterator[Entry]:
    """Yield all that the initrd has before anything is byte-compiled; later ones replace earlier ones."""
    yield from (directory(name) for name in FOLDERS)
    yield from (regular_file(name, data) for name, data in python.items())
    yield from programs
    for inside, path in corpus.members("xen-scripts").items():
        yield regular_file(inside, path.read_bytes(), executable=inside.startswith("etc/xen/scripts/"))
    for inside in corpus.members("xen-utils"):
        yield symbolic_link(f"usr/sbin/{PurePosixPath(inside).name}", f"/{inside}")
    yield from (symbolic_link(f"usr/bin/xenstore-{verb}", "xenstore") for verb in STORE_VERBS)
    yield from (symbolic_link(name, target) for name, target in LINKS.items())
    yield from _modules(corpus)
    yield regular_file("bin/busybox", corpus.file("busybox").read_bytes(), executable=True)
    yield regular_file("init", (HERE / "dom0" / "init").read_bytes(), executable=True)
    for name in ("agent.py", "preloaded.py"):
        yield regular_file(name, (HERE / "dom0" / name).read_bytes())
    yield regular_file("usr/bin/pvefi", PVEFI.encode(), executable=True)


def _modules(corpus: Corpus) -> Iterator[Entry]:
    paths = [path for item in ("amd64-modules", "dom0-modules") for path in corpus.files(item)]
    listing = next(path for path in paths if path.name == "modules.builtin")
    modules = kernel_modules(paths)
    try:
        order = load_order(MODULES, modules, built_in_names(listing.read_text()))
    except LookupError as error:
        raise CorpusError(f"amd64: the modules that are kept lack {error.args[0]}") from None
    yield from (regular_file(f"modules/{name}.ko", modules[name].data) for name in order)
    yield regular_file("modules/order", "".join(f"{name}\n" for name in order).encode())


def main(words: list[str]) -> int:
    """Run one command; 0 when all is well, 1 with one line on stderr when not."""
    parser = argparse.ArgumentParser(prog="tools/xen_image.py", description="The dom0 of pvefi's tests.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("path", help="print the folder of the cached image, building it when needed")
    parser.parse_args(words)
    try:
        print(dom0_image().folder)
    except (CorpusError, PvefiError) as error:
        print(f"xen: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"xen: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("xen: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
