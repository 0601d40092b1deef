# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's kexec-tools start one kernel from another in a guest that EFI booted, and EFI is still there."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pvefi.efi.environment import Environment
from pvefi.efi.gates import Gates
from pvefi.efi.service import Service, Steps
from pvefi.efi.varstore.memory import MemoryStore
from pvefi.efi.varstore.store import Variable
from pvefi.efi.virtual_map import VirtualMap
from pvefi.entries import ENTRIES, EntryRequest
from pvefi.entries.kexec import with_linux_addresses
from pvefi.guest.mailbox import MailboxLayout
from pvefi.layout import Guid
from pvefi.probe.facts import ProbeFacts
from pvefi.probe.initrd import script_files, with_files
from pvefi.spec.linux.boot_params import BootParams
from pvefi.spec.linux.setup_header import LoaderType
from pvefi.spec.uefi import guids
from pvefi.spec.uefi.memory import PAGE_SIZE, AllocateType, MemoryAttribute, MemoryDescriptor, MemoryType
from pvefi.spec.uefi.reset import ResetType
from pvefi.verdict import Outcome, Verdict
from tests.conftest import RealFiles
from tests.qemu_boots.conftest import MIB, Booted, Boots
from tests.qemu_boots.test_entries import keeps_variables

WORDS = "devices,efi,zeropage,iomem,efivars,count,script,poweroff"
KEXEC_LOAD, KEXEC_FILE_LOAD = "-c", "-s"
ESRT_VERSION = 1  # UEFI 2.10 §23.4: EFI_SYSTEM_RESOURCE_TABLE_FIRMWARE_RESOURCE_VERSION
SYSTEM_RESOURCE_TABLE = Guid.parse("b122a263-3661-4f68-9929-78f8b0d62180")  # UEFI 2.10 §23.4
VENDOR = "cfc8fc79-be2e-4ddc-97f0-9f98bfe298a0"  # the probe's, see src/pvefi/probe/init
SLOW, ARMED = "PvefiProbeSlow", "PvefiProbeArmed"
SLOWNESS, STEP = 600, 0.1
"""A variable that is found slowly where there is another one: in at most so many steps of so many seconds."""
CRASHED = "efi,zeropage,efivars,count,poweroff"
"""What the probe does under a crash kernel."""
PATTERN = bytes(range(256)) * (PAGE_SIZE // 256)


@dataclass(frozen=True)
class Hop:
    """From one kernel to the next: the system call that loads it, and which kernel it is."""

    system_call: str
    kernel: str


def script(hops: Sequence[Hop]) -> Mapping[str, str]:
    """Return the commands of every kernel of a chain; `stage` on its command line tells each which it is."""
    calls = "\n".join(f"{stage}) system_call={hop.system_call} ;;" for stage, hop in enumerate(hops))
    load = f"""
        stage=${{stage:-0}} next=$((${{stage:-0}} + 1))
        case $stage in
        {calls}
        *) exit ;;
        esac
        mkdir /next
        tar -xf /dev/vda -C /next vmlinuz-$next initrd-$next || exit
        line=$(sed 's/ *stage=.//' /proc/cmdline)
        kexec $system_call -l /next/vmlinuz-$next --initrd=/next/initrd-$next --append="$line stage=$next"
    """
    log = "dmesg | grep -E 'esrt|efi_config_parse_tables|[Ee][Ff][Ii]|purgatory'"
    # The probe has silenced the console, on which the kernel is to say what it does.
    go = "[ $(cat /sys/kernel/kexec_loaded) = 1 ] && dmesg -n 6 && kexec -e"
    return {"log": log, "load": load, "go": go}


def chain(
    boots: Boots,
    corpus: RealFiles,
    folder: Path,
    first: str,
    *hops: Hop,
    cpus: int = 1,
    words: str = WORDS,
    arguments: str = "",
) -> Booted:
    """Boot `first` through EFI and let one kernel after the other follow, until one ends the guest."""
    commands = script(hops)
    disk = folder / "kernels.tar"
    with tarfile.open(disk, "w") as archive:
        for stage, hop in enumerate(hops, start=1):
            initrd = with_files(corpus.probe(hop.kernel, ("kexec",)).read_bytes(), script_files(commands))
            for name, data in (
                (f"vmlinuz-{stage}", corpus.kernel(hop.kernel).read_bytes()),
                (f"initrd-{stage}", initrd),
            ):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return boots(
        first,
        words,
        programs=("kexec",),
        script=commands,
        disks=(disk,),
        memory=768,
        cpus=cpus,
        restarts=False,
        # All goes into the log, and little of it to the console.
        arguments=f"memblock=debug loglevel=6 {arguments}",
    )


@dataclass
class Reserving:
    """A firmware with tables that Linux reserves: an ESRT, and a list of ranges that a stub would make.

    Linux keeps the first by efi_mem_reserve() (drivers/firmware/efi/esrt.c), the second at every start
    (drivers/firmware/efi/efi.c, efi_config_parse_tables). `broken` counts calls of services that found other
    bytes in the reserved range than were left there; `maps` are the arguments of SetVirtualAddressMap().
    """

    esrt: int = 0
    reserved: int = 0
    broken: int = 0
    looked: int = 0
    final_map: tuple[MemoryDescriptor, ...] = ()
    virtual_map: tuple[MemoryDescriptor, ...] = ()

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Be the firmware of every boot through the EFI entry."""
        entry = ENTRIES["efi"]

        def enter(efi: Environment, request: EntryRequest, information: int) -> Steps[Verdict]:
            self._place(efi)
            return entry.enter(efi, request, information)

        firmware = self

        class Noting(VirtualMap):
            def __init__(self, descriptors: Sequence[MemoryDescriptor]) -> None:
                super().__init__(descriptors)
                firmware.virtual_map = tuple(descriptors)

            def check(self, memory_map: Sequence[MemoryDescriptor]) -> None:
                firmware.final_map = tuple(memory_map)
                super().check(memory_map)

        monkeypatch.setattr("pvefi.prepare.ENTRIES", {**ENTRIES, "efi": replace(entry, enter=enter)})
        monkeypatch.setattr("pvefi.efi.runtime.virtual_memory.VirtualMap", Noting)

    def _place(self, efi: Environment) -> None:
        def page(kind: MemoryType, data: bytes, below: int) -> int:
            address = efi.pages.allocate(AllocateType.MAX_ADDRESS, kind, 1, below)
            efi.physical.write(address, data.ljust(PAGE_SIZE, b"\0"))
            return address

        # UEFI 2.10 §23.4: count, room for as many, version, no entry.
        entry = guids.PVEFI_HYPERVISOR_INFORMATION.wire + bytes(24)
        head = (1).to_bytes(4, "little") * 2 + ESRT_VERSION.to_bytes(8, "little")
        self.esrt = page(MemoryType.BOOT_SERVICES_DATA, head + entry, 256 * MIB)
        self.reserved = page(MemoryType.LOADER_DATA, PATTERN, 300 * MIB)
        # struct linux_efi_memreserve (include/linux/efi.h): room, count, next, then base and size of each.
        record = (1).to_bytes(4, "little") * 2 + bytes(8)
        record += self.reserved.to_bytes(8, "little") + PAGE_SIZE.to_bytes(8, "little")
        table = page(MemoryType.ACPI_RECLAIM, record, 300 * MIB)
        efi.tables.install_configuration_table(SYSTEM_RESOURCE_TABLE, self.esrt)
        efi.tables.install_configuration_table(guids.LINUX_MEMRESERVE, table)
        firmware = self

        class Looking(MemoryStore):
            def put(self, variable: Variable) -> None:
                firmware.looked += 1
                firmware.broken += efi.physical.read(firmware.reserved, PAGE_SIZE) != PATTERN
                super().put(variable)

        efi.surroundings.kept.variables = Looking()

    def is_kept_in(self, facts: ProbeFacts) -> None:
        """Check that a kernel has both reserved."""
        assert facts.efi
        assert facts.iomem
        log = facts.script["log"].output.decode()
        end = self.esrt + 16 + 40
        assert f"esrt: Reserving ESRT space from {self.esrt:#018x} to {end:#018x}.\n" in log
        last = self.reserved + PAGE_SIZE - 1
        line = rf"memblock_reserve: \[{self.reserved:#018x}-{last:#018x}\] efi_config_parse_tables\+"
        assert re.search(line, log), log
        (table,) = (one for one in facts.efi.runtime_map if one.type == MemoryType.BOOT_SERVICES_DATA)
        assert (table.physical_address, table.pages) == (self.esrt, 1)
        assert table.attribute & MemoryAttribute.RUNTIME
        assert any(reserves(line, self.esrt) for line in facts.iomem), facts.iomem


def reserves(line: str, address: int) -> bool:
    """Whether a line of /proc/iomem has `address` in reserved memory."""
    found = re.fullmatch(r" *([0-9a-f]+)-([0-9a-f]+) : [Rr]eserved", line)
    return found is not None and int(found[1], 16) <= address <= int(found[2], 16)


def efi_is_up(facts: ProbeFacts, count: int) -> None:
    """Check that a kernel has all of EFI, and that `count` kernels before it have left their mark."""
    assert facts.efi
    assert facts.efi.present
    assert facts.zero_page
    assert facts.variables
    keeps_variables(replace(facts.variables, left=()))
    assert facts.count
    assert facts.count.before == count
    assert (BootParams.unpack(facts.zero_page).hdr.type_of_loader == LoaderType.KEXEC << 4) is (count > 0)


def called(booted: Booted, service: str) -> int:
    return sum(call.service == service for call in booted.calls)


def test_efi_outlives_two_kernels_that_were_started_by_kexec(
    boots: Boots, corpus: RealFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    firmware = Reserving()
    firmware.install(monkeypatch)
    hops = (Hop(KEXEC_LOAD, "cloud"), Hop(KEXEC_FILE_LOAD, "cloud-6.12"))
    booted = chain(boots, corpus, tmp_path, "cloud", *hops)
    assert booted.result.verdict.outcome is Outcome.POWERED_OFF, booted.result.verdict
    assert booted.result.verdict.message.endswith("; 2 more kernels had been started by kexec")
    assert len(booted.boots) == 3, booted.console[-2000:].decode("latin-1")
    assert [facts.script["load"].status for facts in booted.boots] == [0, 0, 0]
    first = booted.boots[0]
    for count, facts in enumerate(booted.boots):
        efi_is_up(facts, count)
        firmware.is_kept_in(facts)
        assert facts.efi
        assert first.efi
        assert set(facts.efi.runtime_map) == set(first.efi.runtime_map)
    assert (firmware.looked > 10, firmware.broken) == (True, 0)
    assert (called(booted, "SetVirtualAddressMap"), called(booted, "ExitBootServices")) == (1, 1)
    assert booted.result.restarts == 0
    assert places(firmware.virtual_map) == places(with_linux_addresses(firmware.final_map))


@pytest.mark.full
def test_efi_outlives_a_kexec_into_an_older_kernel_on_two_cpus(
    boots: Boots, corpus: RealFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    firmware = Reserving()
    firmware.install(monkeypatch)
    booted = chain(boots, corpus, tmp_path, "cloud-6.12", Hop(KEXEC_FILE_LOAD, "cloud"), cpus=2)
    assert booted.result.verdict.outcome is Outcome.POWERED_OFF, booted.result.verdict
    assert len(booted.boots) == 2
    for count, facts in enumerate(booted.boots):
        efi_is_up(facts, count)
    assert called(booted, "SetVirtualAddressMap") == 1
    assert places(firmware.virtual_map) == places(with_linux_addresses(firmware.final_map))


@pytest.mark.full
def test_a_kernel_that_kexec_has_started_resets_by_efi(
    boots: Boots, corpus: RealFiles, tmp_path: Path
) -> None:
    words, arguments = "devices,script,reboot", "reboot=efi,warm"
    hop = Hop(KEXEC_FILE_LOAD, "cloud")
    booted = chain(boots, corpus, tmp_path, "cloud", hop, words=words, arguments=arguments)
    assert booted.result.verdict.outcome is Outcome.REBOOTED, booted.result.verdict
    assert [facts.boot.end for facts in booted.boots] == [None, "reboot"]
    last = booted.calls[-1]
    assert (last.service, dict(last.arguments)["ResetType"]) == ("ResetSystem", ResetType.WARM)


def places(given: Sequence[MemoryDescriptor]) -> list[tuple[int, int, int]]:
    return [(one.physical_start, one.virtual_start, one.number_of_pages) for one in given]


@dataclass
class Heard:
    """Listens to a guest's console; `crashed` is whether a kernel has started after one had crashed."""

    crashed: bool = False

    def __call__(self, text: bytes) -> bool:
        """Take all that was said so far, and have nobody leave."""
        _, _, after = text.partition(b"sysrq: Trigger a crash")
        self.crashed = b"Linux version " in after
        return False


class Slow(MemoryStore):
    """A store that, once, when another variable is stored, finds one only after a kernel has crashed."""

    def __init__(self, idle: Callable[[float], None], heard: Heard) -> None:
        super().__init__()
        self._idle, self._heard = idle, heard

    def get(self, name: str, vendor: Guid) -> Variable | None:
        if name == SLOW and super().get(ARMED, vendor) is not None:
            self.remove(ARMED, vendor)
            for _ in range(SLOWNESS):
                if self._heard.crashed:
                    break
                self._idle(STEP)  # the guest's console is listened to
        return super().get(name, vendor)


def slow_firmware(monkeypatch: pytest.MonkeyPatch, heard: Heard) -> list[int]:
    """Let the next boot through the EFI entry have such a store; return the gates' lock in each call."""
    locks: list[int] = []
    boots: list[Environment] = []
    entry, service = ENTRIES["efi"], Gates.service

    def enter(efi: Environment, request: EntryRequest, information: int) -> Steps[Verdict]:
        efi.surroundings.kept.variables = Slow(efi.surroundings.clock.idle, heard)
        boots.append(efi)
        return entry.enter(efi, request, information)

    def noting(gates: Gates, index: int) -> Service[..., Any] | None:
        lock = boots[-1].trampoline.symbols["mailbox"] + MailboxLayout.offset_of("lock")
        locks.append(int.from_bytes(boots[-1].physical.read(lock, 8), "little"))
        return service(gates, index)

    monkeypatch.setattr("pvefi.prepare.ENTRIES", {**ENTRIES, "efi": replace(entry, enter=enter)})
    monkeypatch.setattr(Gates, "service", noting)
    return locks


@pytest.mark.parametrize(
    ("cpus", "system_call"),
    [
        pytest.param(1, KEXEC_LOAD, marks=pytest.mark.full),
        (2, KEXEC_LOAD),
        pytest.param(2, KEXEC_FILE_LOAD, marks=pytest.mark.full),
    ],
)
def test_a_crash_kernel_finds_efi_though_the_panic_has_stopped_a_cpu_within_a_gate(
    boots: Boots, corpus: RealFiles, monkeypatch: pytest.MonkeyPatch, cpus: int, system_call: str
) -> None:
    heard = Heard()
    locks = slow_firmware(monkeypatch, heard)
    crash = rf"""
        line=$(sed "s/probe=.*/probe={CRASHED} nr_cpus=1/; s/crashkernel=[^ ]*//" /proc/cmdline)
        kexec {system_call} -p /vmlinuz --initrd=/initrd --append="$line" || exit
        printf '\7\0\0\0slow' >/tmp/slow
        dd if=/tmp/slow of=$efivars/{SLOW}-{VENDOR} bs=64k || exit
        dd if=/tmp/slow of=$efivars/{ARMED}-{VENDOR} bs=64k || exit
        if [ {cpus} = 2 ]; then
            cat $efivars/{SLOW}-{VENDOR} >/dev/null &
            # It sleeps while a CPU is in the gate for it, with interrupts off. This loop needs nothing of
            # that CPU, not even a new program, and goes on on the other one.
            seen=0
            until [ $seen = 200 ]; do
                read -r pid name state rest </proc/$!/stat || exit
                case $state in D) seen=$((seen + 1)) ;; *) seen=0 ;; esac
            done
        fi
        echo c >/proc/sysrq-trigger
    """
    booted = boots(
        "cloud",
        "efi,zeropage,count,script,poweroff",
        programs=("kexec",),
        script={"crash": crash},
        files={
            "vmlinuz": corpus.kernel("cloud").read_bytes(),
            "initrd": corpus.probe("cloud").read_bytes(),
        },
        memory=768,
        cpus=cpus,
        arguments="crashkernel=192M loglevel=6",
        until=heard,
    )
    verdict = booted.result.verdict
    assert verdict.outcome is Outcome.PANICKED, verdict
    assert verdict.message.startswith(
        "Kernel panic - not syncing: sysrq triggered crash; then the guest switched"
    )
    first, crashed = booted.boots
    assert not first.script, first.script
    assert crashed.boot.end == "poweroff"
    efi_is_up(crashed, 1)
    assert crashed.efi
    assert first.efi
    assert set(crashed.efi.runtime_map) == set(first.efi.runtime_map)
    assert called(booted, "SetVirtualAddressMap") == 1
    # The lock of the CPU that stays in its gate is taken over, by adding 2, and given back.
    assert locks.count(3) == (1 if cpus == 2 else 0)
    assert locks[-1] == 1
