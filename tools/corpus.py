# SPDX-License-Identifier: GPL-2.0-or-later
"""The corpus: real kernels and EFI programs out of Debian packages, fetched once and kept with their hashes.

    python3 tools/corpus.py list
    python3 tools/corpus.py fetch cloud efitools
    python3 tools/corpus.py path cloud 'boot/vmlinuz-*'

Files stand under ${XDG_CACHE_HOME:-~/.cache}/pvefi/corpus (PVEFI_CACHE replaces the part up to pvefi);
manifest.json there records package, version and SHA-256. What is cached is checked against its hash and needs
no network. Standard library only, Python >= 3.11.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import fnmatch
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from debian_archive import ArchiveError, Download, PrivateRoot

__all__ = ["ITEMS", "Corpus", "CorpusError", "Item", "cache_folder", "item_named", "library_item"]

OWN_KERNEL = "a kernel of your own needs no archive: make boot KERNEL=/path/vmlinuz"
MODULES = (
    "lib/modules/*/modules.builtin",
    "lib/modules/*/kernel/fs/efivarfs/efivarfs.ko*",
    "lib/modules/*/kernel/drivers/virtio/*",
    "lib/modules/*/kernel/drivers/block/virtio_blk.ko*",
)
DOM0_MODULES = tuple(
    f"lib/modules/*/kernel/{pattern}"
    for pattern in (
        *("drivers/xen/*.ko*", "drivers/block/xen-blkback/*", "drivers/net/xen-netback/*"),
        *("drivers/block/loop.ko*", "drivers/char/virtio_console.ko*"),
        *("fs/9p/*", "fs/fscache/*", "fs/netfs/*", "net/9p/9pnet.ko*", "net/9p/9pnet_virtio.ko*"),
    )
)
XEN_MODULES = ("lib/modules/*/kernel/drivers/block/xen-blkfront.ko*",)
EFI_MODULES = ("lib/modules/*/kernel/drivers/firmware/efi/*.ko*",)
XEN_PROGRAMS = tuple(
    f"usr/lib/xen-4.17/bin/{name}"
    for name in (
        *("xl", "libxl-save-helper", "xen-init-dom0", "xenstored", "xenconsoled", "xenconsole"),
        *("lsevtchn", "xen-diag", "xen-hvmctx", "xenctx"),
    )
)
PYTHON_LIBRARY = ("usr/lib/python3.11/*",)
CLOUD_612 = r"linux-image-6\.12\.\d+\+deb12-cloud-amd64"
INSTALLER = "usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64"
ARM64_INSTALLER = "usr/lib/debian-installer/images/12/arm64/text/debian-installer/arm64"
LIBRARIES = "*lib/x86_64-linux-gnu"
"""Where the libraries of amd64 stand: in lib of the oldest packages, in usr/lib of the others."""
I386_INSTALLER = "usr/lib/debian-installer/images/12/i386/text/debian-installer/i386"


class CorpusError(Exception):
    """An item that cannot be had; one line that says why."""


@dataclass(frozen=True, slots=True)
class Item:
    """One package of the corpus and the files that are kept of it.

    `how` says what `package` is: `exact`, a `meta` package that needs the real one, or a regular expression
    of which the `newest` is meant. Items of the same package are fetched together, so that a kernel and
    its modules are always of one version.
    """

    name: str
    package: str
    files: tuple[str, ...]
    about: str
    how: str = "exact"


def _libraries(package: str, *names: str) -> Item:
    """Return the item of shared libraries of one package, by the names that programs ask for them by."""
    return Item(
        package,
        package,
        tuple(f"{LIBRARIES}/{name}*" for name in names),
        "shared libraries of programs in a guest",
    )


ITEMS = (
    Item("cloud", "linux-image-cloud-amd64", ("boot/vmlinuz-*",), "the default kernel: 6.1, lz4", "meta"),
    Item("amd64", "linux-image-amd64", ("boot/vmlinuz-*",), "the general kernel: 6.1, xz", "meta"),
    Item(
        "cloud-6.12",
        CLOUD_612,
        ("boot/vmlinuz-*",),
        "a kernel of today: 6.12, zstd",
        "newest",
    ),
    Item("cloud-modules", "linux-image-cloud-amd64", MODULES, "what the probe loads on `cloud`", "meta"),
    Item("amd64-modules", "linux-image-amd64", MODULES, "what the probe loads on `amd64`", "meta"),
    Item("dom0-modules", "linux-image-amd64", DOM0_MODULES, "what a dom0 loads on `amd64`", "meta"),
    Item("cloud-6.12-modules", CLOUD_612, MODULES, "what the probe loads on `cloud-6.12`", "newest"),
    Item(
        "cloud-efi-modules",
        "linux-image-cloud-amd64",
        EFI_MODULES,
        "the users of EFI in `cloud`",
        "meta",
    ),
    Item(
        "cloud-xen-modules",
        "linux-image-cloud-amd64",
        XEN_MODULES,
        "Xen's front ends for `cloud`",
        "meta",
    ),
    Item("busybox", "busybox-static", ("bin/busybox",), "the user space of probes"),
    Item(
        "netboot",
        "debian-installer-12-netboot-amd64",
        (f"{INSTALLER}/linux", f"{INSTALLER}/initrd.gz"),
        "the installer's kernel and its 40 MB initrd",
    ),
    Item(
        "xen", "xen-hypervisor-4.17-amd64", ("boot/xen-*.efi", "boot/xen-*.gz"), "Xen as PE and as multiboot"
    ),
    Item("xen-utils", "xen-utils-4.17", XEN_PROGRAMS, "xl and the daemons of a dom0"),
    Item("xen-scripts", "xen-utils-common", ("etc/xen/xl.conf", "etc/xen/scripts/*"), "what xl calls"),
    Item("xenstore", "xenstore-utils", ("usr/bin/xenstore",), "reads and writes xenstore in a dom0"),
    Item("flock", "util-linux", ("usr/bin/flock",), "what scripts of xl call"),
    Item("bash", "bash", ("bin/bash",), "the shell of xl's scripts"),
    Item("python", "python3.11-minimal", ("usr/bin/python3.11",), "the Python of a dom0"),
    Item("python-minimal", "libpython3.11-minimal", PYTHON_LIBRARY, "a part of Python's library"),
    Item("python-stdlib", "libpython3.11-stdlib", PYTHON_LIBRARY, "the other part of Python's library"),
    Item("efitools", "efitools", ("usr/lib/efitools/*.efi",), "small EFI applications"),
    Item("ovmf", "ovmf", ("usr/share/OVMF/*.fd", "usr/share/ovmf/*.fd"), "firmware volumes, variable stores"),
    Item("ovmf-snakeoil", "ovmf", ("usr/share/ovmf/PkKek-1-snakeoil.*",), "the key of a store with keys"),
    Item("grub", "grub-efi-amd64-signed", ("usr/lib/grub/*.signed",), "GRUB as an EFI program"),
    Item("systemd-boot", "systemd-boot-efi", ("usr/lib/systemd/boot/efi/*",), "systemd-boot, the UKI stub"),
    Item("memtest", "memtest86+", ("boot/*",), "PE and bzImage in one"),
    Item("shim", "shim-signed", ("usr/lib/shim/*.signed",), "a first-stage loader"),
    Item("ipxe", "ipxe", ("boot/ipxe.efi", "boot/ipxe.lkrn"), "section alignment 0x20"),
    Item("refind", "refind", ("usr/share/refind/*/*.efi", "usr/share/refind/*/*/*.efi"), "a boot manager"),
    Item("uml", "user-mode-linux", ("usr/bin/linux.uml",), "an ELF that is no x86 boot image"),
    Item("win32-loader", "win32-loader", ("usr/share/win32/*",), "a PE that is no EFI application"),
    Item(
        "netboot-arm64",
        "debian-installer-12-netboot-arm64",
        tuple(f"{ARM64_INSTALLER}/{name}" for name in ("linux", "bootnetaa64.efi", "grubaa64.efi")),
        "an arm64 Image, shim and GRUB for arm64",
    ),
    Item(
        "netboot-i386",
        "debian-installer-12-netboot-i386",
        tuple(f"{I386_INSTALLER}/{name}" for name in ("linux", "bootnetia32.efi", "grubia32.efi")),
        "a kernel of 32 bits, shim and GRUB for IA-32",
    ),
    Item("opensbi", "opensbi", ("usr/lib/riscv64-linux-gnu/opensbi/generic/*",), "RISC-V firmware"),
    Item("efivar", "efivar", ("usr/bin/efivar",), "lists, reads and writes variables in a guest"),
    Item("efibootmgr", "efibootmgr", ("bin/efibootmgr",), "writes boot entries as installers do"),
    Item("efitools-programs", "efitools", ("usr/bin/*",), "keys and authenticated variables in a guest"),
    Item("chattr", "e2fsprogs", ("usr/bin/chattr", "usr/bin/lsattr"), "lets a variable's file be changed"),
    Item("kexec", "kexec-tools", ("sbin/kexec",), "starts a kernel from a kernel"),
    _libraries(
        "libc6",
        *("ld-linux-x86-64.so.2", "libc.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0", "librt.so.1"),
    ),
    _libraries("libefivar1", "libefivar.so.1"),
    _libraries("libefiboot1", "libefiboot.so.1"),
    _libraries("libssl3", "libcrypto.so.3"),
    _libraries("libext2fs2", "libe2p.so.2"),
    _libraries("libcom-err2", "libcom_err.so.2"),
    _libraries("libbz2-1.0", "libbz2.so.1.0"),
    _libraries("libexpat1", "libexpat.so.1"),
    _libraries("libffi8", "libffi.so.8"),
    _libraries("libgcc-s1", "libgcc_s.so.1"),
    _libraries("liblzma5", "liblzma.so.5"),
    _libraries("libtinfo6", "libtinfo.so.6"),
    _libraries("libuuid1", "libuuid.so.1"),
    _libraries("libyajl2", "libyajl.so.2"),
    _libraries("libzstd1", "libzstd.so.1"),
    _libraries("zlib1g", "libz.so.1"),
    _libraries("libxenstore4", "libxenstore.so.4"),
    _libraries(
        "libxenmisc4.17",
        *(f"libxen{name}.so.4.17" for name in ("ctrl", "guest", "light")),
        "libxlutil.so.4.17",
    ),
    *(
        _libraries(f"lib{name}1", f"lib{name}.so.1")
        for name in (
            *("xencall", "xendevicemodel", "xenevtchn", "xenforeignmemory", "xengnttab"),
            *("xenhypfs", "xentoolcore", "xentoollog"),
        )
    ),
)


def item_named(name: str) -> Item:
    """Return the item of this short name or package name; CorpusError lists what there is."""
    for item in ITEMS:
        if name in (item.name, item.package):
            return item
    raise CorpusError(f"the corpus has no {name!r}; it has {', '.join(item.name for item in ITEMS)}")


def library_item(name: str) -> Item | None:
    """Return the item that has the shared library of this name, such as libc.so.6; None when none has."""
    for item in ITEMS:
        if f"{LIBRARIES}/{name}*" in item.files:
            return item
    return None


def cache_folder() -> Path:
    """Return the folder of everything that pvefi fetches."""
    if given := os.environ.get("PVEFI_CACHE"):
        return Path(given).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or f"{os.environ.get('HOME') or Path.home()}/.cache"
    return Path(base).absolute() / "pvefi"


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class Progress:
    """Lines on a stream; on a terminal the last one counts up in place."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._live = sys.stderr.isatty()

    def say(self, text: str) -> None:
        """Write one whole line."""
        clear = "\r\x1b[K" if self._live else ""
        print(f"{clear}{self._name}: {text}", file=sys.stderr, flush=True)

    def count(self, done: int, size: int) -> None:
        """Show how far a download is, on a terminal only."""
        if self._live:
            print(
                f"\r\x1b[K{self._name}: {done / 1e6:.1f} of {size / 1e6:.1f} MB",
                end="",
                file=sys.stderr,
                flush=True,
            )


class Corpus:
    """The cached items, fetched on demand."""

    def __init__(self, folder: Path | None = None, *, offline: bool = False) -> None:
        self._folder = folder or cache_folder() / "corpus"
        self._offline = offline
        self._verified: dict[str, list[Path]] = {}
        self._roots: list[PrivateRoot] = []

    def files(self, name: str, *, refresh: bool = False) -> list[Path]:
        """Return all files kept of an item, fetching it when it is not cached."""
        item = item_named(name)
        if refresh or item.name not in self._verified:
            found = None if refresh else self._cached(item)
            self._verified[item.name] = found if found is not None else self._fetch(item, refresh)
        return self._verified[item.name]

    def file(self, name: str, pattern: str = "*") -> Path:
        """Return the one file of an item whose path in the package, or whose name, matches `pattern`."""
        item = item_named(name)
        found = [
            path
            for inside, path in self.members(name).items()
            if fnmatch.fnmatchcase(inside, pattern) or fnmatch.fnmatchcase(path.name, pattern)
        ]
        if len(found) != 1:
            names = ", ".join(path.name for path in found) or "nothing"
            raise CorpusError(
                f"{item.name}: {pattern!r} should name one file of {item.package}, it names {names}"
            )
        return found[0]

    def members(self, name: str) -> dict[str, Path]:
        """Return all files kept of an item by their paths in the package."""
        inside = self._inside(item_named(name))
        return {str(path.relative_to(inside)).partition("/")[2]: path for path in self.files(name)}

    def record(self, name: str) -> dict[str, Any]:
        """Return the manifest's entry of an item: package, version, hashes."""
        entry = self._manifest().get(item_named(name).name)
        return dict(entry) if isinstance(entry, dict) else {}

    def _inside(self, item: Item) -> Path:
        return self._folder / item.name

    def _manifest(self) -> dict[str, Any]:
        try:
            loaded = json.loads((self._folder / "manifest.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return loaded if isinstance(loaded, dict) else {}

    def _cached(self, item: Item) -> list[Path] | None:
        entry = self._manifest().get(item.name)
        if not isinstance(entry, dict) or entry.get("patterns") != list(item.files):
            return None
        found = []
        for name, digest in entry.get("files", {}).items():
            path = self._inside(item) / str(entry.get("folder")) / name
            if not path.is_file() or sha256(path) != digest:
                Progress("corpus").say(f"{item.name}: {path.name} is not what was fetched; fetching it again")
                return None
            found.append(path)
        return found or None

    def _fetch(self, item: Item, refresh: bool) -> list[Path]:
        if self._offline:
            raise CorpusError(f"{item.name} ({item.package}) is not cached, and fetching is switched off")
        try:
            with self._locked():
                # Another process may have fetched it while this one waited for the lock.
                found = None if refresh else self._cached(item)
                return found if found is not None else self._fetch_locked(item)
        except ArchiveError as error:
            raise CorpusError(f"cannot fetch {item.package}: {error}") from None
        except OSError as error:
            reason = f"{error.filename or self._folder}: {error.strerror or error}"
            raise CorpusError(
                f"cannot keep {item.package}: {reason}; PVEFI_CACHE names another folder"
            ) from None
        except tarfile.TarError as error:
            raise CorpusError(f"cannot unpack {item.package}: {error}") from None

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                Progress("corpus").say("waiting for another pvefi that is fetching")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _fetch_locked(self, item: Item) -> list[Path]:
        progress = Progress("corpus")
        if not self._roots:
            self._roots.append(PrivateRoot(self._folder / "apt", progress.say))
        root = self._roots[0]
        for stale in self._folder.glob("*/.part-*"):
            shutil.rmtree(stale, ignore_errors=True)
        package = root.resolve(item.package, item.how)
        inside = self._inside(item)
        inside.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".part-", dir=inside) as scratch:
            progress.say(f"{item.name}: fetching {package}")
            fetched = root.download(package, Path(scratch), progress.count)
            together = [other for other in ITEMS if (other.package, other.how) == (item.package, item.how)]
            unpacked = {other.name: Path(scratch) / other.name for other in together}
            unpack(fetched.path, {unpacked[other.name]: other.files for other in together})
            for other in together:
                self._verified[other.name] = self._keep(other, fetched, unpacked[other.name])
            return self._verified[item.name]

    def _keep(self, item: Item, fetched: Download, unpacked: Path) -> list[Path]:
        progress = Progress("corpus")
        names = sorted(str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file())
        version = fetched.file_name.split("_")[1].replace("%3a", ":")
        entry = {
            "package": fetched.package,
            "version": version,
            "deb": fetched.file_name,
            "deb_sha256": sha256(fetched.path),
            "folder": fetched.file_name.removesuffix(".deb"),
            "patterns": list(item.files),
            "files": {name: sha256(unpacked / name) for name in names},
        }
        self._inside(item).mkdir(parents=True, exist_ok=True)
        final = self._inside(item) / str(entry["folder"])
        if final.exists():
            final.rename(unpacked.with_name(f"{item.name}-replaced"))
        unpacked.rename(final)
        manifest = self._manifest() | {item.name: entry}
        part = self._folder / "manifest.json.part"
        part.write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        part.replace(self._folder / "manifest.json")
        megabytes = sum((final / name).stat().st_size for name in names) / 1e6
        progress.say(f"{item.name}: {fetched.package} {version}, {len(names)} file(s), {megabytes:.1f} MB")
        return [final / name for name in names]


def unpack(package: Path, wanted: Mapping[Path, tuple[str, ...]]) -> None:
    """Unpack the regular files of a .deb that match the patterns of a folder into it; every one must match.

    Reading ends as soon as each pattern without a wildcard in a folder of many is served: a kernel stands at
    the front of its package, before hundreds of megabytes of modules.
    """
    for folder in wanted:
        folder.mkdir(parents=True)
    missing = {pattern for patterns in wanted.values() for pattern in patterns}
    one_each = all("*" not in pattern or pattern.startswith("boot/vmlinuz-") for pattern in missing)
    command = ["dpkg-deb", "--fsys-tarfile", str(package)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as running:
        assert running.stdout is not None
        with tarfile.open(fileobj=running.stdout, mode="r|") as archive:
            for member in archive:
                missing -= _take(archive, member, wanted)
                if one_each and not missing:
                    running.kill()
                    break
    if missing:
        raise ArchiveError(f"{package.name} has no {', '.join(sorted(missing))}")


def _take(
    archive: tarfile.TarFile, member: tarfile.TarInfo, wanted: Mapping[Path, tuple[str, ...]]
) -> set[str]:
    """Write the member into the folder that wants it, and return the patterns that do."""
    name = member.name.removeprefix("./")
    if ".." in Path(name).parts or name.startswith("/") or not member.isreg():
        return set()
    for folder, patterns in wanted.items():
        hits = {pattern for pattern in patterns if fnmatch.fnmatchcase(name, pattern)}
        source = archive.extractfile(member) if hits else None
        if source is not None:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as stream:
                shutil.copyfileobj(source, stream, 1 << 20)
            return hits
    return set()


def _list(corpus: Corpus) -> None:
    for item in ITEMS:
        entry = corpus.record(item.name)
        state = f"{entry['package']} {entry['version']}" if entry else "not fetched"
        print(f"{item.name:18} {item.about:45} {state}")


def main(words: list[str]) -> int:
    """Run one command; 0 when all is well, 1 with one line on stderr when not."""
    parser = argparse.ArgumentParser(
        prog="tools/corpus.py", description="Real kernels and EFI programs from Debian."
    )
    parser.add_argument("--offline", action="store_true", help="use what is cached, fetch nothing")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("list", help="say what the corpus has and what is cached")
    fetch = verbs.add_parser("fetch", help="bring items into the cache")
    fetch.add_argument("names", nargs="+", metavar="NAME", help="an item or its package, or `all`")
    fetch.add_argument("--refresh", action="store_true", help="look for newer ones")
    path = verbs.add_parser("path", help="print the path of one file, fetching it when needed")
    path.add_argument("name", metavar="NAME")
    path.add_argument("pattern", nargs="?", default="*", metavar="PATTERN")
    given = parser.parse_args(words)
    corpus = Corpus(offline=given.offline)
    run: dict[str, Callable[[], object]] = {
        "list": lambda: _list(corpus),
        "path": lambda: print(corpus.file(given.name, given.pattern)),
        "fetch": lambda: _fetch_all(corpus, given.names, given.refresh),
    }
    try:
        run[given.verb]()
        sys.stdout.flush()
    except CorpusError as error:
        print(f"corpus: {error} ({OWN_KERNEL})", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("corpus: interrupted", file=sys.stderr)
        return 130
    return 0


def _fetch_all(corpus: Corpus, names: list[str], refresh: bool) -> None:
    for name in [item.name for item in ITEMS] if names == ["all"] else names:
        for path in corpus.files(name, refresh=refresh):
            print(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
