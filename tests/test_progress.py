# SPDX-License-Identifier: GPL-2.0-or-later
"""Milestones, and what ends a boot: its goal, its console, its CPUs."""

from __future__ import annotations

import pytest

from pvefi.machines import CpuState
from pvefi.progress import Progress
from pvefi.verdict import Goal, Milestone, Outcome, Verdict

RUN_INIT = b"[    0.941245] Run /init as init process\r\n"
BANNER = b"[    0.000000] Linux version 6.1.0-56-cloud-amd64 (debian) (gcc) #1 SMP\r\n"
PANIC = b"[    1.000000] Kernel panic - not syncing: VFS: no root\r\n"
PANIC_STAYS = b"[    1.100000] ---[ end Kernel panic - not syncing: VFS: no root ]---\r\n"
KEXEC = b"[    3.000000] kexec_core: Starting new kernel\r\n"
RESTART = b"[    4.000000] reboot: Restarting system\r\n"
INIT_FAILED = b"[    0.950000] Failed to execute /init (error -2)\r\n"
PROBE = b"PVEFI-PROBE up\r\n"

USER = CpuState(0x401000, 3, halted=False, interrupts=True)
KERNEL = CpuState(0xFFFF_FFFF_8100_0000, 0, halted=False, interrupts=True)
IDLE = CpuState(0xFFFF_FFFF_8100_0000, 0, halted=True, interrupts=True)
DEAD = CpuState(0x1234, 0, halted=True, interrupts=False)


class Steered:
    """A guest that notes what it is told."""

    def __init__(self) -> None:
        self.verdicts: list[Verdict] = []
        self.looks: list[float] = []
        self.listens = 0
        self.resets_expected = 0

    def finish(self, reason: object) -> None:
        assert isinstance(reason, Verdict)
        self.verdicts.append(reason)

    def look_soon(self, seconds: float) -> None:
        self.looks.append(seconds)

    def listen(self) -> None:
        self.listens += 1

    def expect_reset(self) -> None:
        self.resets_expected += 1

    @property
    def outcomes(self) -> list[Outcome]:
        return [verdict.outcome for verdict in self.verdicts]


def watched(goal: Goal = Goal.USERSPACE) -> tuple[Progress, Steered]:
    progress, guest = Progress(goal), Steered()
    progress.steer(guest)
    progress.boot()
    return progress, guest


def test_milestones_are_those_of_the_last_boot_and_their_first_time() -> None:
    progress, _ = watched()
    progress.reached(Milestone.IMAGE)
    first = progress.milestones[Milestone.IMAGE]
    progress.reached(Milestone.IMAGE)
    assert progress.milestones[Milestone.IMAGE] == first
    assert list(progress.milestones) == [Milestone.DOORBELL, Milestone.IMAGE]
    progress.boot()
    assert (list(progress.milestones), progress.boots) == ([Milestone.DOORBELL], 2)


def test_the_probe_is_user_space_at_once() -> None:
    progress, guest = watched()
    progress.console(PROBE)
    assert guest.outcomes == [Outcome.USER_SPACE]
    assert guest.listens == 1
    assert Milestone.USER_SPACE in progress.milestones


def test_an_announced_process_is_believed_at_the_next_look() -> None:
    progress, guest = watched()
    progress.console(RUN_INIT)
    assert (guest.outcomes, len(guest.looks)) == ([], 1)
    progress.look([KERNEL])
    assert guest.outcomes == [Outcome.USER_SPACE]
    assert "Run /init" in guest.verdicts[0].message


def test_an_announced_process_that_was_taken_back_is_not_believed() -> None:
    progress, guest = watched()
    progress.console(RUN_INIT + INIT_FAILED)
    progress.look([KERNEL])
    assert guest.outcomes == []
    assert Milestone.USER_SPACE not in progress.milestones


def test_a_silent_kernel_is_seen_in_user_space_by_its_cpus() -> None:
    progress, guest = watched()
    progress.look([IDLE, USER])
    assert guest.outcomes == [Outcome.USER_SPACE]


@pytest.mark.parametrize("goal", [Goal.HANDOFF, Goal.EXIT])
def test_user_space_ends_only_a_boot_whose_goal_it_is(goal: Goal) -> None:
    progress, guest = watched(goal)
    progress.console(PROBE)
    progress.console(PROBE)
    assert guest.outcomes == []
    assert guest.listens == 1


@pytest.mark.parametrize("where", ["firmware's console", "its own"])
def test_once_xen_runs_privilege_level_3_tells_nothing_of_user_space(where: str) -> None:
    progress, guest = watched()
    if where == "its own":
        progress.console(b"(XEN) Xen version 4.17.7 (Debian 4.17.7) (x) (gcc) debug=n Sat Nov 14\n")
    else:
        for part in ("\r\nXen ", "4.17.7 (c/s ) ", "EFI loader\r\n"):
            progress.said(part)
    progress.look([USER])
    assert not guest.verdicts
    progress.console(RUN_INIT)
    progress.look([USER])
    assert guest.outcomes == [Outcome.USER_SPACE]


def test_cpus_that_all_stay_halted_for_good_end_the_boot_at_the_second_look() -> None:
    progress, guest = watched()
    progress.look([DEAD, DEAD])
    assert guest.outcomes == []
    progress.look([DEAD, DEAD])
    assert guest.outcomes == [Outcome.HALTED]
    assert "0x1234" in guest.verdicts[0].message


@pytest.mark.parametrize("between", [[IDLE], [KERNEL], [DEAD, IDLE], []], ids=["idle", "runs", "one", "none"])
def test_a_cpu_that_can_wake_is_not_halted_for_good(between: list[CpuState]) -> None:
    progress, guest = watched()
    for cpus in ([DEAD], between, [DEAD]):
        progress.look(cpus)
    assert guest.outcomes == []


def test_looks_come_ever_later() -> None:
    progress, _ = watched()
    spans = [progress.look([KERNEL]) for _ in range(12)]
    assert spans == sorted(spans)
    assert spans[-1] == spans[-2] == 60


def test_a_panic_that_stays_ends_the_boot_with_the_first_words() -> None:
    progress, guest = watched()
    progress.console(PANIC)
    assert guest.outcomes == []
    progress.console(PANIC_STAYS)
    assert guest.looks[-1] < 1
    progress.look([KERNEL, DEAD])
    assert guest.outcomes == [Outcome.PANICKED]
    assert "VFS: no root" in guest.verdicts[0].message


@pytest.mark.parametrize("cpu", [USER, IDLE], ids=["user space", "idle"])
def test_a_guest_that_goes_on_after_the_end_of_a_panic_has_only_read_of_one(cpu: CpuState) -> None:
    progress, guest = watched(Goal.EXIT)
    progress.console(PANIC + PANIC_STAYS)
    progress.look([DEAD, cpu])
    progress.look([KERNEL])
    assert guest.outcomes == []
    off = Verdict(Outcome.POWERED_OFF, "the guest switched itself off")
    assert progress.amended(off) == off


def test_a_panic_of_an_earlier_boot_that_is_read_from_pstore_is_not_this_one_s() -> None:
    progress, guest = watched(Goal.EXIT)
    progress.console(BANNER + RUN_INIT + PROBE)
    progress.console(b"".join(b"<0>" + line + b"\r\n" for line in (PANIC + PANIC_STAYS).splitlines()))
    progress.look([KERNEL])
    progress.boot()
    assert guest.outcomes == []


def test_a_reset_after_a_panic_is_the_panics_end() -> None:
    progress, guest = watched()
    progress.console(PANIC)
    progress.boot()
    assert guest.outcomes == [Outcome.PANICKED]


@pytest.mark.parametrize(
    "outcome", [Outcome.POWERED_OFF, Outcome.REBOOTED, Outcome.FAULTED, Outcome.TIMED_OUT]
)
def test_whatever_follows_a_panic_the_guest_has_panicked(outcome: Outcome) -> None:
    progress, _ = watched()
    verdict = Verdict(outcome, "the end")
    assert progress.amended(verdict) == verdict
    progress.console(PANIC)
    amended = progress.amended(verdict)
    assert amended.outcome is Outcome.PANICKED
    assert amended.message.endswith("; then the end")


def test_kernels_started_by_kexec_are_told_and_pass_no_milestone_again() -> None:
    progress, _ = watched(Goal.EXIT)
    progress.console(BANNER + RUN_INIT)
    off = Verdict(Outcome.POWERED_OFF, "the guest switched itself off")
    assert progress.amended(off) == off
    first = dict(progress.milestones)
    progress.console(KEXEC + BANNER + RUN_INIT + PROBE)
    assert progress.milestones == first
    assert progress.amended(off).message == f"{off.message}; 1 more kernel had been started by kexec"
    progress.console(KEXEC + BANNER)
    assert progress.amended(off).message == f"{off.message}; 2 more kernels had been started by kexec"
    progress.boot()
    assert progress.amended(off) == off


def test_a_log_that_is_read_again_is_no_kernel_started_by_kexec() -> None:
    progress, _ = watched(Goal.EXIT)
    off = Verdict(Outcome.POWERED_OFF, "the guest switched itself off")
    progress.console(BANNER + RUN_INIT + BANNER)
    assert progress.amended(off) == off
    progress.console(KEXEC + BANNER + BANNER)
    assert progress.amended(off).message == f"{off.message}; 1 more kernel had been started by kexec"


@pytest.mark.parametrize("before", [b"", KEXEC + BANNER], ids=["first kernel", "second kernel"])
def test_a_reset_without_a_doorbell_is_no_kexec(before: bytes) -> None:
    progress, guest = watched(Goal.EXIT)
    progress.console(BANNER + RUN_INIT + before + RESTART + BANNER + RUN_INIT)
    off = Verdict(Outcome.POWERED_OFF, "the guest switched itself off")
    assert progress.amended(off) == off
    assert guest.outcomes == []


def test_a_guest_whose_crash_kernel_ends_well_has_panicked() -> None:
    progress, guest = watched(Goal.EXIT)
    progress.console(BANNER + RUN_INIT + PANIC + BANNER + RUN_INIT)
    verdict = progress.amended(Verdict(Outcome.POWERED_OFF, "the guest switched itself off"))
    assert verdict.outcome is Outcome.PANICKED
    assert verdict.message == (
        "Kernel panic - not syncing: VFS: no root; "
        "then the guest switched itself off; 1 more kernel had been started by kexec"
    )
    assert guest.outcomes == []


@pytest.mark.parametrize("restart", ["doorbell", "console"])
def test_a_reset_by_the_crash_kernel_is_the_panics_end(restart: str) -> None:
    progress, guest = watched(Goal.EXIT)
    progress.console(BANNER + RUN_INIT + PANIC + BANNER + RUN_INIT + RESTART)
    assert guest.outcomes == []
    if restart == "doorbell":
        progress.boot()
    else:
        progress.console(BANNER)
    assert [verdict.message for verdict in guest.verdicts] == [
        "Kernel panic - not syncing: VFS: no root; then the guest reset the machine"
    ]
    assert progress.amended(guest.verdicts[0]).message.endswith("; 1 more kernel had been started by kexec")


def test_a_crash_kernel_that_panics_ends_the_boot_with_its_own_words() -> None:
    progress, guest = watched(Goal.EXIT)
    progress.console(
        BANNER + RUN_INIT + PANIC.replace(b"VFS: no root", b"sysrq") + BANNER + PANIC + PANIC_STAYS
    )
    progress.look([KERNEL])
    assert [verdict.message for verdict in guest.verdicts] == ["Kernel panic - not syncing: VFS: no root"]


def test_a_dead_machine_is_not_the_guests_panic() -> None:
    progress, _ = watched()
    progress.console(PANIC)
    verdict = Verdict(Outcome.DIED, "QEMU was ended by SIGKILL")
    assert progress.amended(verdict) == verdict


def test_what_is_told_before_there_is_a_guest_is_not_lost() -> None:
    progress = Progress(Goal.USERSPACE)
    progress.console(RUN_INIT)
    guest = Steered()
    progress.steer(guest)
    progress.look([KERNEL])
    assert guest.outcomes == [Outcome.USER_SPACE]


def test_a_kernel_that_says_that_it_restarts_may_do_so_by_a_triple_fault() -> None:
    progress, guest = watched()
    progress.console(b"[    1.0] nothing of that kind\r\n")
    assert guest.resets_expected == 0
    progress.console(b"[    1.234567] reboot: Restarting system\r\n")
    assert guest.resets_expected == 1


def test_a_kernel_that_says_that_it_halts_is_looked_at_soon() -> None:
    progress, guest = watched()
    progress.console(b"[    1.234567] reboot: System halted\r\n")
    assert guest.looks[-1] < 1
    progress.look([DEAD])
    progress.look([DEAD])
    assert guest.outcomes == [Outcome.HALTED]


def test_where_no_cpu_can_be_looked_at_the_console_s_word_is_taken() -> None:
    progress, guest = watched(Goal.USERSPACE)
    progress.console(BANNER + RUN_INIT)
    assert guest.looks[-1] < 1
    progress.look(())
    assert guest.outcomes == [Outcome.USER_SPACE]
    progress, guest = watched()
    progress.console(PANIC + PANIC_STAYS)
    progress.look(())
    assert guest.outcomes == [Outcome.PANICKED]
