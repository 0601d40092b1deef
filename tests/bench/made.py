# SPDX-License-Identifier: GPL-2.0-or-later
"""Made-up measurements."""

from __future__ import annotations

from dataclasses import replace

from bench.figures import BootSample, Samples
from bench.qemu_figures import QemuBoot


def boot_sample(seconds: float = 2.0, host_seconds: float = 0.02, service_us: float = 10.0) -> BootSample:
    calls = (("AllocatePool", service_us), ("GetMemoryMap", 3 * service_us), ("FreePool", service_us))
    return BootSample("hand-off", seconds, host_seconds, calls, 50_000_000, 99_000_000, 121)


def samples(*boots: BootSample) -> Samples:
    return Samples(
        boots=boots or (boot_sample(),),
        busy=(boot_sample(),),
        counted=(boot_sample(),),
        inspect_seconds=(0.2, 0.3, 0.1),
        import_seconds=(0.05,),
        all_entries_ratios=(1.01, 1.02),
        directory_seconds=(8.0,),
        directory_memory=(200_000_000,),
    )


def qemu_boot(way: str = "efi", seconds: float = 2.0, **changes: object) -> QemuBoot:
    boot = QemuBoot(
        machine="q35",
        way=way,
        firmware="auto",
        profile="linux",
        outcome="user space",
        milestones={"first doorbell": 0.03, "image": 0.05, "ExitBootServices": 0.3, "user space": seconds},
        round_trips=(40.0, 50.0, 90.0),
        status=None,
        lasting_memory=None,
    )
    return replace(boot, **changes)  # type: ignore[arg-type]  # the fields' types differ
