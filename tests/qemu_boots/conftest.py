# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots kernels with the probe on the machine `qemu`, and gives back what the probe found in the guest."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pytest

from pvefi.boot import Observer, boot
from pvefi.efi.profiles import PROFILES
from pvefi.efi.varstore.edk2 import empty_store
from pvefi.errors import MachineError
from pvefi.machines import ForeignWay
from pvefi.machines.choose import QemuWish, choose_machine
from pvefi.machines.qemu.command import MachineType
from pvefi.prepare import BootOptions, prepare, prepare_foreign
from pvefi.probe.facts import ProbeFacts
from pvefi.probe.initrd import script_files, with_files
from pvefi.probe.lines import probe_boots
from pvefi.probe.reading import probe_facts, read_facts
from pvefi.spec.edk2.ovmf import OVMF_4M
from pvefi.trace.events import CallEvent
from pvefi.verdict import BootResult, Goal
from tests.conftest import RealFiles, Tool, lacks
from tests.ovmf import boot_by_ovmf

SECONDS = 180.0
MIB = 1 << 20


@dataclass(frozen=True)
class Booted:
    """What a boot came to; `console` is what the guest wrote to its serial port."""

    result: BootResult
    console: bytes
    calls: tuple[CallEvent, ...]

    @property
    def boots(self) -> tuple[ProbeFacts, ...]:
        """The facts of each start of the probe's user space."""
        return tuple(read_facts(one) for one in probe_boots(self.console))

    @property
    def facts(self) -> ProbeFacts:
        """The facts of the only start, which came to its end."""
        boots = self.boots
        assert len(boots) == 1, (self.result.verdict, self.console[-2000:].decode("latin-1"))
        assert boots[0].boot.end, self.result.verdict
        return boots[0]


class Leaving:
    """A keyboard at which somebody leaves once `enough` holds of the console's text."""

    patient = False

    def __init__(self, enough: Callable[[bytes], bool]) -> None:
        self._enough = enough
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.console = bytearray()

    def text(self, data: bytes) -> None:
        """Take what the guest wrote."""
        self.console += data
        if self._enough(bytes(self.console)):
            os.eventfd_write(self._event, 1)

    def fileno(self) -> int:
        """Return the descriptor that is readable when it is time to leave."""
        return self._event

    def read(self) -> None:
        """Leave."""

    def close(self) -> None:
        """Let go of the descriptor."""
        os.close(self._event)


class Typing:
    """A pipe in which stands what was typed, and its end."""

    patient = True

    def __init__(self, typed: bytes) -> None:
        self._end, other = os.pipe()
        os.write(other, typed)
        os.close(other)

    def fileno(self) -> int:
        """Return the end to read at."""
        return self._end

    def read(self) -> bytes:
        """Return what was typed, empty at its end."""
        return os.read(self._end, 64)

    def close(self) -> None:
        """Let go of the pipe."""
        os.close(self._end)


class Boots:
    """`boots(kernel, words, ...)`: a boot with the probe, which does what `words` say."""

    def __init__(self, corpus: RealFiles, tool: Tool, folder: Path) -> None:
        self._corpus, self._tool, self._folder = corpus, tool, folder
        self._program = tool("qemu-system-x86_64")

    def __call__(
        self,
        kernel: str,
        words: str,
        *,
        machine: str = "q35",
        entry: str = "efi",
        firmware: str = "auto",
        accelerator: str = "tcg",
        arguments: str = "",
        exact: bool = False,
        profile: str = "linux",
        memory: int = 512,
        cpus: int = 1,
        disks: tuple[Path, ...] = (),
        variables: Path | None = None,
        restarts: bool = True,
        programs: tuple[str, ...] = (),
        script: Mapping[str, str] = MappingProxyType({}),
        files: Mapping[str, bytes] = MappingProxyType({}),
        image: Path | None = None,
        initrd: Path | None = None,
        until: Callable[[bytes], bool] | None = None,
        typed: bytes = b"",
        esp: Path | None = None,
        cpu: str = "",
    ) -> Booted:
        """Return what came of it; MiB of `memory`. It ends by itself, or when `until` holds of the text.

        The kernel is of the corpus, and the probe has `programs` of it, `files` and the commands of `script`;
        or there is an `image`, with no initrd but its own. `typed` is piped in, where nothing is to be waited
        for. `esp` is served as the volume that the image comes from.
        """
        ways = {"qemu-linux": ForeignWay.LINUX, "qemu-pvh": ForeignWay.PVH}
        foreign = ForeignWay.OVMF if firmware == "ovmf" else ways.get(entry)
        if image is None:
            initrd = self.initrd(kernel, programs, {**files, **script_files(script)})
            image = self._corpus.kernel(kernel)
            arguments = f"console=ttyS0 panic=-1 {arguments} probe={words}"
        wish = QemuWish(
            program=self._program,
            machine_type=MachineType(machine),
            accelerator=accelerator,
            firmware="" if firmware == "ovmf" else firmware,
            foreign=foreign is not None,
            exact=exact,
            cpu=cpu,
        )
        calls: list[CallEvent] = []
        keyboard = Leaving(until or (lambda _: False))
        typing = Typing(typed)
        options = BootOptions(
            image,
            choose_machine("qemu", wish),
            entry="efi" if foreign else entry,
            profile=PROFILES[profile],
            initrd=initrd,
            command_line=arguments,
            memory_size=memory * MIB,
            seed=0 if exact else None,
            timeout=SECONDS,
            goal=Goal.EXIT,
            cpus=cpus,
            disks=disks,
            restarts=restarts,
            variables=variables,
            esp=esp,
        )
        observer = Observer(
            console=lambda _: None,
            call=calls.append,
            stage=lambda _: None,
            serial=keyboard.text,
            keyboard=keyboard if until else typing if typed else None,
        )
        try:
            result = boot(prepare_foreign(options, foreign) if foreign else prepare(options), observer)
        except MachineError as error:
            if foreign is ForeignWay.OVMF:
                lacks(str(error))
            raise
        finally:
            keyboard.close()
            typing.close()
        return Booted(result, bytes(keyboard.console), tuple(calls))

    def by_ovmf(
        self,
        kernel: str,
        words: str,
        store: Path,
        *,
        disk: Path | None = None,
        programs: tuple[str, ...] = (),
        script: Mapping[str, str] = MappingProxyType({}),
        files: Mapping[str, bytes] = MappingProxyType({}),
    ) -> ProbeFacts:
        """Return what the same probe found under OVMF, with a store of variables that stays."""
        initrd = self.initrd(kernel, programs, {**files, **script_files(script)})
        line = f"console=ttyS0 quiet panic=-1 probe={words}"
        image = self._corpus.kernel(kernel)
        return probe_facts(boot_by_ovmf(self._corpus, self._tool, store, image, initrd, line, disk=disk))

    def initrd(self, kernel: str, programs: tuple[str, ...], files: Mapping[str, bytes]) -> Path:
        """Return the probe's initrd with these programs and files; the next one takes its place."""
        plain = self._corpus.probe(kernel, programs)
        if not files:
            return plain
        path = self._folder / "probe.cpio"
        path.write_bytes(with_files(plain.read_bytes(), files))
        return path


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of an empty store of variables, one for all tests of a module."""
    path = tmp_path_factory.mktemp("store") / "vars.fd"
    path.write_bytes(empty_store(OVMF_4M))
    return path


@pytest.fixture(scope="session")
def boots(corpus: RealFiles, tool: Tool, tmp_path_factory: pytest.TempPathFactory) -> Boots:
    """Boot a kernel of the corpus with the probe, or an image with no initrd but its own."""
    return Boots(corpus, tool, tmp_path_factory.mktemp("initrd"))
