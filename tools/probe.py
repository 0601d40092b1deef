#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The probe's initrd for a kernel of the corpus: built, kept in the cache, and its path printed.

    python3 tools/probe.py path cloud
    python3 tools/probe.py build cloud-6.12 -o /tmp/probe.cpio
    python3 tools/probe.py build cloud -o /tmp/probe.cpio --programs efivar,kexec --file script/0-list=list.sh
    python3 tools/probe.py facts console.txt

`path` and `build` take the name of a kernel of tools/corpus.py; `any` makes an initrd without modules,
which every kernel boots. With `--programs` the files of these items of the corpus stand in it too, with all
the shared libraries they need; with `--file` any other file. `facts` prints as JSON, bytes in hexadecimal,
what a console's text has of the probe's facts. What words `probe=` of the kernel's command line takes is in
src/pvefi/probe/init. Standard library only, Python >= 3.11; `--programs` needs pyelftools.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from corpus import Corpus, CorpusError, cache_folder, library_item
from pvefi.errors import PvefiError
from pvefi.probe.cpio import Entry
from pvefi.probe.initrd import build_initrd, built_in_names, kernel_modules, with_files
from pvefi.probe.programs import program_entries
from pvefi.probe.reading import probe_facts

__all__ = ["KERNELS", "WITHOUT_MODULES", "kernel_file", "probe_initrd"]

KERNELS = ("cloud", "amd64", "cloud-6.12")
"""The kernels of the corpus whose modules it has too."""
WITHOUT_MODULES = "any"


def kernel_file(name: str, corpus: Corpus | None = None) -> Path:
    """Return the kernel of this name; CorpusError when it cannot be had."""
    return (corpus or Corpus()).file(name, "boot/vmlinuz-*")


def probe_initrd(name: str, corpus: Corpus | None = None, programs: Iterable[str] = ()) -> Path:
    """Return the probe's initrd for a kernel of KERNELS, or the one without modules; built when not cached.

    `programs` are items of the corpus, such as `efivar`, whose files stand in it at their paths with all the
    shared libraries they need. CorpusError when its parts cannot be had.
    """
    data = _built(name, corpus or Corpus(), tuple(programs))
    kept = cache_folder() / "probe" / f"{name}-{hashlib.sha256(data).hexdigest()[:16]}.cpio"
    if not kept.is_file() or kept.stat().st_size != len(data):
        _write(kept, data)
    return kept


def _built(name: str, corpus: Corpus, programs: tuple[str, ...]) -> bytes:
    busybox = corpus.file("busybox").read_bytes()
    if name not in (*KERNELS, WITHOUT_MODULES):
        raise CorpusError(f"no probe for {name!r}; there are {', '.join((*KERNELS, WITHOUT_MODULES))}")
    more = _program_entries(corpus, programs) if programs else ()
    if name == WITHOUT_MODULES:
        return build_initrd(busybox, {}, more=more)
    # The kernel first: fetching either fetches both, and of one version.
    release = kernel_file(name, corpus).name.removeprefix("vmlinuz-")
    files = corpus.files(f"{name}-modules")
    if any(release not in path.parts for path in files):
        files = corpus.files(f"{name}-modules", refresh=True)
    built_in = next(path for path in files if path.name == "modules.builtin")
    try:
        return build_initrd(busybox, kernel_modules(files), built_in_names(built_in.read_text()), more)
    except LookupError as error:
        raise CorpusError(f"{name}: the modules of {release} lack {error.args[0]}") from None


def _program_entries(corpus: Corpus, programs: tuple[str, ...]) -> tuple[Entry, ...]:
    files = {inside: path.read_bytes() for item in programs for inside, path in corpus.members(item).items()}

    def library(name: str) -> bytes:
        found = library_item(name)
        if found is None:
            raise LookupError
        return corpus.file(found.name, f"{name}*").read_bytes()

    try:
        return program_entries(files, library)
    except LookupError as error:
        raise CorpusError(f"{', '.join(programs)}: the corpus lacks the {error.args[0]}") from None


def _write(path: Path, data: bytes) -> None:
    """Write a file so that nobody sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".part-", delete=False) as stream:
        stream.write(data)
    Path(stream.name).chmod(0o644)
    Path(stream.name).replace(path)


def _to_json(value: object) -> object:
    """Return what JSON has for a value that it does not know."""
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    return value.hex() if isinstance(value, bytes) else str(value)


def main(words: list[str]) -> int:
    """Run one command; 0 when all is well, 1 with one line on stderr when not."""
    parser = argparse.ArgumentParser(prog="tools/probe.py", description="The probe's initrd, and its facts.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    names = ", ".join((*KERNELS, WITHOUT_MODULES))
    path = verbs.add_parser("path", help="print the path of the cached initrd, building it when needed")
    path.add_argument("kernel", metavar="KERNEL", help=names)
    build = verbs.add_parser("build", help="write the initrd to a file")
    build.add_argument("kernel", metavar="KERNEL", help=names)
    build.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    build.add_argument("--programs", default="", metavar="ITEM,ITEM", help="such as efivar,efibootmgr,kexec")
    build.add_argument("--file", action="append", default=[], metavar="PATH=FILE", help="one more file")
    facts = verbs.add_parser("facts", help="print the facts in a console's text")
    facts.add_argument("console", type=Path, metavar="FILE")
    given = parser.parse_args(words)
    try:
        if given.verb == "facts":
            print(json.dumps(probe_facts(given.console.read_bytes()), default=_to_json, indent=2))
        elif given.verb == "build":
            programs = [word for word in given.programs.split(",") if word]
            files = {
                inside: Path(file).read_bytes()
                for inside, _, file in (word.partition("=") for word in given.file)
            }
            initrd = probe_initrd(given.kernel, programs=programs).read_bytes()
            _write(given.output.absolute(), with_files(initrd, files) if files else initrd)
        else:
            print(probe_initrd(given.kernel))
        sys.stdout.flush()
    except (CorpusError, PvefiError) as error:
        print(f"probe: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"probe: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("probe: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
