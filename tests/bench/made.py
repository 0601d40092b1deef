# SPDX-License-Identifier: GPL-2.0-or-later
"""Made-up measurements."""

from __future__ import annotations

from bench.figures import BootSample, Samples


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
