# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots domUs by `pvefi boot --machine xen` in a dom0, with the probe as their user space."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pvefi.probe.facts import ProbeFacts
from pvefi.probe.initrd import script_files, with_files
from pvefi.probe.lines import probe_boots
from pvefi.probe.reading import read_facts
from tests.conftest import RealFiles
from xen_jobs import Dom0, Job, JobEnd

SECONDS = 240.0
STEP = 0.3
UP, HELD = b"PVEFI-PROBE up", b"PVEFI-PROBE end hold"
"""What the probe says when it starts, and when it has done all but end."""
NATIVE = ("--xl-set", 'tsc_mode="native"')
"""Xen emulates the TSC where it has no way to scale it, which costs a nested guest most of its time."""


@dataclass(frozen=True)
class Booted:
    """What a boot came to; `console` is the text of the domain's console."""

    end: JobEnd

    @property
    def console(self) -> bytes:
        """What the guest wrote, with pvefi's own last line after it where there is one."""
        return self.end.stderr

    @property
    def document(self) -> Any:
        """What `--json` has."""
        assert self.end.stdout, self.end
        return json.loads(self.end.stdout)

    @property
    def outcome(self) -> str:
        """How it ended, in one word or two."""
        return str(self.document["verdict"]["outcome"])

    @property
    def boots(self) -> tuple[ProbeFacts, ...]:
        """The facts of each start of the probe's user space."""
        return tuple(read_facts(one) for one in probe_boots(self.console))

    @property
    def facts(self) -> ProbeFacts:
        """The facts of the only start, which came to its end."""
        boots = self.boots
        assert len(boots) == 1, str(self.end)[-4000:]
        assert boots[0].boot.end, str(self.end)[-4000:]
        return boots[0]


class Boots:
    """`boots(dom0, kernel, words, ...)`: a boot with the probe, which does what `words` say."""

    def __init__(self, corpus: RealFiles, folder: Path) -> None:
        self._corpus, self._folder = corpus, folder

    def start(
        self,
        dom0: Dom0,
        kernel: str,
        words: str,
        *options: str,
        entry: str = "efi",
        profile: str = "linux",
        memory: int = 128,
        cpus: int = 1,
        arguments: str = "quiet",
        programs: tuple[str, ...] = (),
        script: Mapping[str, str] = MappingProxyType({}),
        files: Mapping[str, bytes] = MappingProxyType({}),
        preloaded: bool = True,
        boots: int = 1,
    ) -> Job:
        """Start a boot of a kernel of the corpus with `memory` MiB; `options` are more of pvefi's own.

        `boots` is how many there are one after the other, as by `--entry all`: each has its time.
        Unless `preloaded` it is the command as users have it, from its first import.
        """
        command = (
            *("boot", "--machine", "xen", "--json", "--entry", entry, "--profile", profile, *NATIVE),
            *("--memory", f"{memory}M", "--cpus", cpus, "--timeout", SECONDS, *options),
            *("--initrd", self.initrd(dom0, kernel, programs, {**files, **script_files(script)})),
            *("--cmdline", f"console=hvc0 panic=-1 {arguments} probe={words}"),
            dom0.give(self._corpus.kernel(kernel)),
        )
        if preloaded:
            return dom0.pvefi(*command, seconds=boots * SECONDS + 60)
        return dom0.start(["pvefi", *map(str, command)], seconds=boots * SECONDS + 60)

    def __call__(self, dom0: Dom0, kernel: str, words: str, *options: str, **wishes: Any) -> Booted:
        """Return what came of such a boot, which ends by itself."""
        return Booted(self.start(dom0, kernel, words, *options, **wishes).wait())

    def kernel(self, name: str) -> Path:
        """Return the file of a kernel of the corpus."""
        return self._corpus.kernel(name)

    def initrd(self, dom0: Dom0, kernel: str, programs: tuple[str, ...], files: Mapping[str, bytes]) -> str:
        """Return the path in dom0 of the probe's initrd with these programs and files."""
        plain = self._corpus.probe(kernel, programs)
        if not files:
            return dom0.give(plain)
        data = with_files(plain.read_bytes(), files)
        path = self._folder / f"{hash(data):x}.cpio"
        path.write_bytes(data)
        return dom0.give(path)


def domains(dom0: Dom0) -> list[str]:
    """Return the names of all domUs."""
    return [line.split()[0] for line in dom0.done("xl list").splitlines()[2:]]


def console_of(dom0: Dom0, name: str) -> bytes:
    """Return what a domain has written to its console since it was made, as xenconsoled logs it."""
    return dom0.run(["cat", f"/var/log/xen/console/guest-{name}.log"]).stdout


def wait_until(job: Job, enough: Callable[[bytes], bool], seconds: float = SECONDS) -> bytes:
    """Wait until `enough` holds of what a boot's guest wrote, and return that."""
    end = time.monotonic() + seconds
    while True:
        ended, text = job.ended, job.errors()
        if enough(text):
            return text
        assert not ended, job.wait()
        assert time.monotonic() < end, text[-2000:].decode("latin-1")
        time.sleep(STEP)
