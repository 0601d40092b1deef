# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from collections import Counter

from pvefi.evaluate.plan import MACHINES, WAYS, Plan, Wish, make_plan
from pvefi.evaluate.run import Gap
from pvefi.evaluate.task import FileRef, Problem, TaskKind
from tests.evaluate.made import facts

NO_XEN = {"xen": "this host does not run on Xen"}
INITRD = FileRef("initrd", "ab" * 32, 5)
PROGRAM = facts("hello.efi", kind="EFI application", entries=("efi",), ways=("efi",), is_kernel=False)
OLD = facts("linux686", bits=32, entries=("linux16",), ways=("qemu-linux",))


def kinds(plan: Plan) -> Counter[tuple[str, str, str]]:
    return Counter((task.machine, task.entry, task.kind.value) for task in plan.tasks)


def told(plan: Plan) -> dict[str, Gap]:
    return {gap.what: gap for gap in plan.gaps}


def test_on_the_embedded_machine_each_entry_is_repeated_to_its_hand_off() -> None:
    plan = make_plan([facts()], Wish(machines=("embedded",), repeat=2), {})
    assert kinds(plan) == {("embedded", entry, "handoff"): 2 for entry in ("efi", "linux64", "kexec", "pvh")}
    assert plan.gaps == ()


def test_on_qemu_an_entry_is_timed_counted_asked_for_its_facts_and_watched() -> None:
    plan = make_plan([facts()], Wish(machines=("qemu",), entries=("efi",), repeat=4), {})
    assert kinds(plan) == {
        ("qemu", "efi", "handoff"): 1,
        ("qemu", "efi", "userspace"): 4,
        ("qemu", "efi", "facts"): 1,
        ("qemu", "efi", "count"): 1,
    }


def test_qemus_own_loaders_and_ovmf_are_compared_but_for_the_hand_off() -> None:
    plan = make_plan([facts()], Wish(machines=("qemu",), repeat=1), {})
    for way in ("qemu-linux", "qemu-pvh", "ovmf"):
        of_it = {task.kind for task in plan.tasks if task.entry == way}
        assert of_it == {TaskKind.USERSPACE, TaskKind.FACTS, TaskKind.COUNT}


def test_on_xen_its_own_loader_takes_the_entry_of_the_pvh_note() -> None:
    plan = make_plan([facts()], Wish(machines=("xen",), repeat=1), {})
    assert {task.entry for task in plan.tasks} == {"efi", "linux64", "kexec", "xen-pvh", "xen-pv"}
    assert {task.kind for task in plan.tasks} == {TaskKind.USERSPACE, TaskKind.FACTS}


def test_every_boot_runs_once_before_one_runs_again() -> None:
    plan = make_plan([facts("a"), facts("b")], Wish(repeat=3), NO_XEN)
    repetitions = [task.repetition for task in plan.tasks]
    assert repetitions == sorted(repetitions)
    assert max(repetitions) == 2


def test_what_takes_longest_starts_first() -> None:
    plan = make_plan([facts()], Wish(machines=("qemu",), repeat=1), {})
    assert plan.tasks[0].kind is TaskKind.COUNT
    assert plan.tasks[-1].kind is TaskKind.USERSPACE


def test_no_two_tasks_of_a_plan_have_the_same_name() -> None:
    plan = make_plan([facts("a"), facts("b"), PROGRAM, OLD], Wish(initrd=INITRD), {})
    assert len({task.id for task in plan.tasks}) == len(plan.tasks)


def test_what_is_counted_repeats_and_what_is_timed_need_not() -> None:
    plan = make_plan([facts()], Wish(), NO_XEN)
    for task in plan.tasks:
        first_embedded = task.machine == "embedded" and task.repetition == 0
        assert task.seed == (0 if first_embedded or task.kind is TaskKind.COUNT else None)
    assert {task.seed for task in make_plan([facts()], Wish(seed=7), NO_XEN).tasks} == {7}


def test_the_initrd_is_not_for_boots_that_bring_their_own() -> None:
    plan = make_plan([facts()], Wish(initrd=INITRD), NO_XEN)
    for task in plan.tasks:
        assert (task.initrd is None) == (task.kind in (TaskKind.FACTS, TaskKind.COUNT))


def test_options_of_qemu_are_for_qemu_alone() -> None:
    plan = make_plan([facts()], Wish(machine_options={"cpu": "max"}), NO_XEN)
    assert {(task.machine, bool(task.machine_options)) for task in plan.tasks} == {
        ("embedded", False),
        ("qemu", True),
    }


def test_a_program_runs_to_its_end_once_on_each_machine() -> None:
    plan = make_plan([PROGRAM], Wish(initrd=INITRD), {})
    assert kinds(plan) == {(machine, "efi", "handoff"): 1 for machine in MACHINES}
    assert {task.initrd for task in plan.tasks} == {None}


def test_a_program_with_several_entries_runs_by_the_first_unless_others_are_named() -> None:
    memtest = facts("memtest", is_kernel=False, ways=("efi", "linux64", "linux32", "qemu-linux"))
    plan = make_plan([memtest], Wish(machines=("embedded",)), {})
    assert {task.entry for task in plan.tasks} == {"efi"}
    plan = make_plan([memtest], Wish(machines=("embedded",), entries=("linux64", "linux32")), {})
    assert {task.entry for task in plan.tasks} == {"linux64", "linux32"}


def test_a_32_bit_kernel_is_timed_with_the_users_initrd_only_and_the_rest_is_a_gap() -> None:
    with_it = make_plan([OLD], Wish(machines=("qemu",), initrd=INITRD, repeat=1), {})
    assert kinds(with_it) == {("qemu", "qemu-linux", "userspace"): 1}
    without = make_plan([OLD], Wish(machines=("qemu",), repeat=1), {})
    assert without.tasks == ()
    (gap,) = without.gaps
    assert gap.problem is Problem.NONE
    assert "32-bit kernel" in gap.why
    assert gap.what == "linux686: qemu-linux on qemu: user space, its facts and counts"


def test_a_unified_image_is_timed_with_the_initrd_that_it_brings() -> None:
    image = facts("uki.efi", ways=("efi",), unified=True)
    plan = make_plan([image], Wish(initrd=INITRD, repeat=1), NO_XEN)
    assert kinds(plan) == {("qemu", "efi", "userspace"): 1, ("embedded", "efi", "handoff"): 1}
    assert {task.initrd for task in plan.tasks} == {None}
    lost = {gap.what: gap.problem for gap in plan.gaps if "unified" in gap.why}
    assert lost == {
        "uki.efi: efi on qemu: its hand-off, facts and counts": Problem.NONE,
    }


def test_a_machine_that_nobody_named_is_told_and_no_failure() -> None:
    plan = make_plan([facts()], Wish(), NO_XEN)
    assert told(plan)["machine xen"] == Gap(
        "machine xen", Problem.NONE, f"left out, not asked for by name: {NO_XEN['xen']}"
    )
    assert {task.machine for task in plan.tasks} == {"embedded", "qemu"}


def test_a_machine_that_was_named_is_a_failure_and_the_rest_goes_on() -> None:
    plan = make_plan([facts()], Wish(machines=("embedded", "xen")), NO_XEN)
    assert told(plan)["machine xen"].problem is Problem.MACHINE
    assert {task.machine for task in plan.tasks} == {"embedded"}


def test_firmware_that_is_missing_is_a_failure_only_where_it_was_named() -> None:
    lacking = {"ovmf": "no OVMF found", **NO_XEN}
    plan = make_plan([facts()], Wish(), lacking)
    assert told(plan)["vmlinuz: ovmf on qemu"] == Gap(
        "vmlinuz: ovmf on qemu", Problem.NONE, "left out, not asked for by name: no OVMF found"
    )
    assert "ovmf" not in {task.entry for task in plan.tasks}
    named = make_plan([facts()], Wish(entries=("efi", "ovmf")), lacking)
    assert told(named)["vmlinuz: ovmf on qemu"].problem is Problem.MACHINE


def test_an_entry_that_was_named_and_that_the_image_lacks_is_a_gap() -> None:
    plan = make_plan([PROGRAM, facts()], Wish(entries=("linux64",), machines=("embedded",)), {})
    (gap,) = plan.gaps
    assert (gap.what, gap.problem) == ("hello.efi: linux64", Problem.INPUT)
    assert gap.why == "it can be booted by efi"
    assert {task.image.name for task in plan.tasks} == {"vmlinuz"}


def test_of_several_entries_each_image_is_booted_by_those_that_it_has() -> None:
    mixed = Wish(entries=("efi", "linux64", "pvh", "ovmf"), machines=("embedded", "qemu"))
    (gap,) = make_plan([PROGRAM, facts()], mixed, {}).gaps
    assert (gap.what, gap.problem) == ("hello.efi: linux64, pvh, ovmf", Problem.NONE)
    assert gap.why.endswith("pvefi has OVMF boot kernels only")
    alone = make_plan([PROGRAM], mixed, {})
    assert [one.problem for one in alone.gaps] == [Problem.INPUT]


def test_an_entry_that_no_machine_asked_for_takes_is_a_gap() -> None:
    plan = make_plan([facts()], Wish(entries=("xen-pv", "efi"), machines=("embedded", "qemu")), {})
    (gap,) = plan.gaps
    assert (gap.what, gap.why) == ("vmlinuz: xen-pv", "none of embedded, qemu boots this so")


def test_an_image_without_any_way_in_is_a_gap_that_says_what_it_has() -> None:
    plan = make_plan([facts("Image", kind="Linux arm64 Image", entries=("arm64",), ways=())], Wish(), {})
    (gap,) = plan.gaps
    assert (gap.what, gap.problem, plan.tasks) == ("Image", Problem.INPUT, ())
    assert gap.why.endswith("found Linux arm64 Image, entries: arm64")


def test_an_entry_that_the_profile_cannot_serve_is_a_gap() -> None:
    plan = make_plan([facts()], Wish(machines=("embedded",), profile="minimal"), {})
    (gap,) = plan.gaps
    assert gap.what == "vmlinuz: kexec on embedded"
    assert gap.why.endswith(": expected a profile whose runtime services stay, found minimal")
    assert "kexec" not in {task.entry for task in plan.tasks}


def test_every_way_there_is_can_be_asked_for() -> None:
    assert {"efi", "efi-handover", "linux64", "linux32", "pvh", "kexec"} < set(WAYS)
    assert {"qemu-linux", "qemu-pvh", "ovmf", "xen-pvh", "xen-pv"} < set(WAYS)
