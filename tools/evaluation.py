#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Reproduces docs/evaluation: what pvefi says of Debian's kernels and Xen, with the commands that say it.

    make evaluation

Fetches the images from the Debian archive, unless they are there, evaluates, minimises and injects, and
copies the reports to docs/evaluation. What was interrupted goes on where it stopped, as long as pvefi and
the images are the same; --fresh begins anew. Needs QEMU, OVMF and pvefi's environment, and some fifteen
minutes on two cores. The exit status is 0 when all is written, 1 with a line on stderr when not, 2 for a
wrong option, and 130 by Ctrl-C.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from corpus import Corpus, CorpusError, cache_folder
from pvefi.evaluate.inject.markdown import to_markdown as inject_markdown
from pvefi.evaluate.minimise.markdown import to_markdown as minimise_markdown
from pvefi.report.json_node import Node

__all__ = ["EvaluationError", "Step", "main", "publish", "readme", "run_steps", "steps"]

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs" / "evaluation"
IMAGES = (
    ("cloud", "boot/vmlinuz-*"),
    ("amd64", "boot/vmlinuz-*"),
    ("cloud-6.12", "boot/vmlinuz-*"),
    ("xen", "boot/xen-*.efi"),
)
"""Items of the corpus, and which file of each: the first is also the one that is minimised and injected."""
REPEAT = 3
ANSWERED = (0, 1, 124)
"""Exit statuses of a command that has said what came of it, good or bad: docs/exit-statuses.md."""
LARGEST = 4 << 20  # bytes of a file that is copied


class EvaluationError(Exception):
    """Something without which there is nothing to publish; the text is for people."""


@dataclass(frozen=True)
class Step:
    """One command, run in a folder that has the images.

    `output` is the file that gets what it prints; "" where it writes its files itself. `makes` are the files
    that are published, and folders of such, which end in "/".
    """

    name: str
    words: tuple[str, ...]
    output: str
    makes: tuple[str, ...]
    about: str

    @property
    def line(self) -> str:
        """The command as it is typed."""
        return shlex.join(("pvefi", *self.words)) + (f" > {self.output}" if self.output else "")


def steps(images: Sequence[str]) -> tuple[Step, ...]:
    """Return what is run, for images of these names."""
    first = images[0]
    return (
        Step(
            "evaluate",
            ("evaluate", *images, "--machines", "embedded,qemu", "--repeat", str(REPEAT), "-o", "report"),
            "",
            ("report/report.html", "report/report.md", "report/report.json", "report/pictures/"),
            "every image through every entry, on both machines",
        ),
        Step(
            "minimise",
            ("minimise", first, "--json", "-o", "smallest-profile.json"),
            "minimise.json",
            ("minimise.json", "smallest-profile.json"),
            "the smallest set of services and protocols with which the first one reaches its hand-off",
        ),
        Step(
            "inject",
            ("inject", first, "--json"),
            "inject.json",
            ("inject.json",),
            "everything that the specification lets go wrong with its calls, one at a time",
        ),
    )


def fingerprint(images: Sequence[Path]) -> str:
    """Return what changes when pvefi or an image does."""
    digest = hashlib.sha256()
    for path in (*sorted((ROOT / "src").rglob("*.*")), *images):
        if path.is_file() and path.suffix != ".pyc":
            digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def run_steps(work: Path, planned: Sequence[Step], mark: str) -> dict[str, float]:
    """Run what has not run yet, in the folder `work`, and return how many seconds each step took.

    `mark` is what `fingerprint` says: what was begun with another one is begun anew.
    """
    state = work / "state.json"
    told: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        told = json.loads(state.read_text(encoding="utf-8"))
    if told.get("mark") != mark:
        told = {"mark": mark, "seconds": {}}
        for step in planned:
            shutil.rmtree(work / step.makes[0].split("/", maxsplit=1)[0], ignore_errors=True)
    seconds: dict[str, float] = told["seconds"]
    for number, step in enumerate(planned, 1):
        said = f"evaluation: {number} of {len(planned)}: {step.line}"
        if step.name in seconds:
            print(f"{said}: done before", file=sys.stderr)
            continue
        print(said, file=sys.stderr, flush=True)
        began = time.monotonic()
        _run(work, step)
        seconds[step.name] = round(time.monotonic() - began, 1)
        state.write_text(json.dumps(told), encoding="utf-8")
    return seconds


def _run(work: Path, step: Step) -> None:
    words = [sys.executable, "-m", "pvefi", *step.words]
    if (work / "report" / "results").exists() and step.name == "evaluate":
        words.append("--resume")
    if step.output:
        with (work / step.output).open("wb") as stream:
            done = subprocess.run(words, check=False, cwd=work, stdin=subprocess.DEVNULL, stdout=stream)
    else:
        done = subprocess.run(words, check=False, cwd=work, stdin=subprocess.DEVNULL)
    if done.returncode not in ANSWERED:
        raise EvaluationError(f"{step.line}: ended with {done.returncode}")


def publish(work: Path, planned: Sequence[Step], target: Path, private: Sequence[str]) -> list[str]:
    """Copy what the steps made to `target`, in place of what is there; return the names.

    EvaluationError where a file is missing or too large, or names one of the `private` paths.
    """
    made = {name: path for step in planned for name, path in _made(work, step)}
    for name, path in made.items():
        if path.stat().st_size > LARGEST:
            raise EvaluationError(
                f"{name}: expected at most {LARGEST:,} bytes, found {path.stat().st_size:,}"
            )
        text = path.read_text(encoding="utf-8", errors="replace")
        for one in private:
            if one in text:
                raise EvaluationError(f"{name}: expected no path of this host, found {one}")
    pages = {f"{step.name}.md": _page(work, step) for step in planned if step.output}
    shutil.rmtree(target, ignore_errors=True)
    for name, path in made.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target / name)
    for name, page in pages.items():
        (target / name).write_text(page, encoding="utf-8")
    return [*made, *pages]


def _page(work: Path, step: Step) -> str:
    """Return the document that a step printed as a page for people."""
    node = Node(json.loads((work / step.output).read_text(encoding="utf-8")), step.output)
    told = {"minimise": minimise_markdown, "inject": inject_markdown}[step.name](node)
    return f"# {step.about[0].upper()}{step.about[1:]}\n\n`{step.line}`\n\n{told}"


def _made(work: Path, step: Step) -> Iterator[tuple[str, Path]]:
    for name in step.makes:
        path = work / name
        if not path.exists():
            raise EvaluationError(f"{step.line}: expected to find {name}, which it did not write")
        if path.is_dir():
            yield from ((f"{path.name}/{one.name}", one) for one in sorted(path.iterdir()))
        else:
            yield path.name, path


def readme(
    planned: Sequence[Step], names: Sequence[str], seconds: dict[str, float], packages: Sequence[str]
) -> str:
    """Return the page that says what stands beside it and how it was made."""
    commands = "\n".join(f"| `{step.line}` | {seconds[step.name]:,.0f} | {step.about} |" for step in planned)
    return f"""\
# An evaluation of Debian's kernels, and of Xen

Made by `make evaluation`, which writes this page too, on {datetime.now(UTC):%Y-%m-%d}; nothing here is edited
by hand. [report.md](report.md) is the report. report.html is the same in one file, to be opened in a browser
after a download. [minimise.md](minimise.md) and [inject.md](inject.md) are tables of their JSON documents.
What they mean is in [evaluation.md](../evaluation.md), [minimise.md](../minimise.md) and
[inject.md](../inject.md).

Xen is here as an EFI program that is given no volume, on which it looks for its configuration: what the
report says of it is how far it gets so, which is no boot of Xen. [xen-efi.md](../xen-efi.md) has that.

The images are out of packages of Debian, which `tools/corpus.py` fetches:

{"".join(f"- {package}{chr(10)}" for package in packages)}
The commands, in a folder that has the images, and the seconds that each took:

| command | seconds | what for |
|---|---|---|
{commands}

The files:

{"".join(f"- [{name}]({name}){chr(10)}" for name in names)}"""


def main(words: Sequence[str]) -> int:
    """Run all and publish it."""
    parser = argparse.ArgumentParser(prog="tools/evaluation.py", description="Reproduce docs/evaluation.")
    parser.add_argument("--fresh", action="store_true", help="begin anew, whatever was done before")
    parser.add_argument("--to", type=Path, default=DOCS, metavar="DIR", help="write there, not to docs")
    given = parser.parse_args(words)
    try:
        corpus = Corpus()
        files = [corpus.file(name, pattern) for name, pattern in IMAGES]
        packages = [
            f"{path.name}: {record['package']} {record['version']}"
            for path, (name, _) in zip(files, IMAGES, strict=True)
            for record in (corpus.record(name),)
        ]
        work = cache_folder() / "evaluation"
        if given.fresh:
            shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True, exist_ok=True)
        for path in files:
            (work / path.name).unlink(missing_ok=True)
            (work / path.name).symlink_to(path)
        planned = steps([path.name for path in files])
        seconds = run_steps(work, planned, fingerprint(files))
        names = publish(work, planned, given.to, (f"{work}/", f"{ROOT}/", f"{Path.home()}/"))
        (given.to / "README.md").write_text(readme(planned, names, seconds, packages), encoding="utf-8")
    except (CorpusError, EvaluationError, OSError) as error:
        print(f"evaluation: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("evaluation: interrupted; the same command goes on with it", file=sys.stderr)
        return 130
    print(f"evaluation: {len(names)} files written to {given.to}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
