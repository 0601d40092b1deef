# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

import pytest

from pvefi.errors import MachineError, UsageError
from pvefi.evaluate.engines.engine import Finished, Happening, Started
from pvefi.evaluate.evaluation import Looked, Watcher, evaluate, lacking, look
from pvefi.evaluate.journal import Journal
from pvefi.evaluate.plan import Plan, Wish, make_plan
from pvefi.evaluate.run import Evaluation
from pvefi.evaluate.task import Problem, Task, TaskKind
from tests.conftest import RealFiles
from tests.evaluate.made import facts, program, returning, task_result


class Played:
    """An engine whose every boot reaches its hand-off at once, until it fails."""

    def __init__(self, error: BaseException | None = None, after: int = 1000) -> None:
        self.jobs = 3
        self.ran: list[Task] = []
        self.closed = False
        self._error, self._after = error, after

    def run(self, tasks: Sequence[Task], files: Mapping[str, Path]) -> Generator[Happening]:
        try:
            for task in tasks:
                yield Started(task)
                if len(self.ran) == self._after and self._error is not None:
                    raise self._error
                self.ran.append(task)
                yield Finished(task_result(task))
        finally:
            self.closed = True


def run(
    folder: Path, engine: Played, plan: Plan, notices: list[str] | None = None, *, resume: bool = False
) -> Evaluation:
    told = notices if notices is not None else []
    watcher = Watcher(lambda _tasks, _done: None, lambda _happening: None, told.append)
    journal = Journal(folder, resume=resume, notice=told.append)
    looked = Looked((facts(),), None, {}, ())
    return evaluate(looked, plan, engine, journal, watcher, command="pvefi evaluate", repeat=2)


def planned() -> Plan:
    return make_plan([facts()], Wish(machines=("embedded",), repeat=2), {})


def test_the_results_are_in_the_plans_order_and_all_is_told(tmp_path: Path) -> None:
    plan = planned()
    made = run(tmp_path, Played(), plan)
    assert [result.task for result in made.results] == list(plan.tasks)
    assert (made.jobs, made.repeat, made.machines, made.reused) == (3, 2, ("embedded",), 0)
    assert made.host.cpus >= 1
    assert made.started.endswith(" UTC")


def test_a_machine_that_was_several_is_told_with_what_each_was_for(tmp_path: Path) -> None:
    class Named(Played):
        def run(self, tasks: Sequence[Task], files: Mapping[str, Path]) -> Generator[Happening]:
            for task in tasks:
                about = "QEMU exact" if task.kind is TaskKind.COUNT else "QEMU"
                yield Finished(task_result(task, boot={"machine_about": about}))

    plan = make_plan([facts()], Wish(machines=("qemu",), entries=("efi",)), {})
    machines = run(tmp_path, Named(), plan).host.machines
    assert machines == (("qemu", "QEMU exact (for counts); QEMU (for hand-offs, timed boots, facts)"),)


def test_what_was_interrupted_goes_on_and_runs_nothing_twice(tmp_path: Path) -> None:
    plan = planned()
    first = Played(KeyboardInterrupt(), after=3)
    with pytest.raises(KeyboardInterrupt) as caught:
        run(tmp_path, first, plan)
    assert caught.value.__notes__ == ["3 of 8 boots are done, --resume goes on with them"]
    assert first.closed
    second = Played()
    made = run(tmp_path, second, plan, resume=True)
    assert [*first.ran, *second.ran] == list(plan.tasks)
    assert (made.reused, len(made.results)) == (3, 8)


def test_with_everything_there_nothing_runs(tmp_path: Path) -> None:
    run(tmp_path, Played(), planned())
    again = Played()
    made = run(tmp_path, again, planned(), resume=True)
    assert (again.ran, made.reused, len(made.results)) == ([], 8, 8)


def test_it_is_told_once_when_fewer_boots_are_left_than_can_run(tmp_path: Path) -> None:
    left: list[int] = []
    engine = Played()
    watcher = Watcher(
        lambda *_: None, lambda _: None, lambda _: None, lambda: left.append(8 - len(engine.ran))
    )
    journal = Journal(tmp_path, resume=False, notice=lambda _: None)
    looked = Looked((facts(),), None, {}, ())
    evaluate(looked, planned(), engine, journal, watcher, command="pvefi evaluate", repeat=2)
    assert left == [engine.jobs - 1]


def test_an_engine_that_goes_in_the_middle_costs_what_it_had_not_run(tmp_path: Path) -> None:
    notices: list[str] = []
    made = run(tmp_path, Played(MachineError("the scheduler is gone"), after=6), planned(), notices)
    assert [result.problem for result in made.results] == [Problem.NONE] * 6 + [Problem.MACHINE] * 2
    assert {result.why for result in made.results[6:]} == {"the scheduler is gone"}
    assert notices == ["2 boots do not run: the scheduler is gone"]


def test_an_engine_that_was_never_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="no scheduler"):
        run(tmp_path, Played(MachineError("no scheduler"), after=0), planned())


def test_an_image_that_cannot_be_read_is_a_gap_and_the_others_are_facts(tmp_path: Path) -> None:
    good, text = program(tmp_path, returning(0)), tmp_path / "README"
    text.write_text("not an image")
    looked = look([text, good, tmp_path / "none"], None)
    assert [image.file.name for image in looked.images] == ["program.efi"]
    assert [gap.what for gap in looked.gaps] == [str(text), str(tmp_path / "none")]
    assert {gap.problem for gap in looked.gaps} == {Problem.INPUT}


def test_the_same_file_twice_is_one_image(tmp_path: Path) -> None:
    one = program(tmp_path, returning(0))
    other = program(tmp_path, returning(0), "copy.efi")
    assert [image.file.name for image in look([one, one, other], None).images] == ["program.efi"]


def test_images_of_the_same_name_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    paths = [program(tmp_path, returning(7), "other.efi")]
    for folder, status in (("a", 0), ("b", 1)):
        (tmp_path / folder / "boot").mkdir(parents=True)
        paths.append(program(tmp_path / folder / "boot", returning(status)))
    names = [image.file.name for image in look(paths, None).images]
    assert names == ["other.efi", "a/boot/program.efi", "b/boot/program.efi"]


def test_an_initrd_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected an initial ramdisk, found: No such file"):
        look([program(tmp_path, returning(0))], tmp_path / "none")


def test_a_real_kernel_has_its_facts(corpus: RealFiles) -> None:
    kernel = corpus.kernel("cloud")
    (image,) = look([kernel], None).images
    assert (image.is_kernel, image.bits, image.release) == (True, 64, kernel.name.removeprefix("vmlinuz-"))
    assert image.ways == (
        *("efi", "efi-handover", "linux64", "kexec", "linux32", "pvh"),
        *("qemu-linux", "qemu-pvh", "ovmf", "xen-pvh", "xen-pv"),
    )


def test_xen_as_an_efi_program_is_no_kernel_of_linux(corpus: RealFiles) -> None:
    (image,) = look([corpus.file("xen", "*.efi")], None).images
    assert (image.is_kernel, image.ways) == (False, ("efi",))


def test_what_this_host_lacks_is_told_with_the_way_out(tmp_path: Path) -> None:
    found = lacking(Wish(machine_options={"program": f"{tmp_path}/none", "machine_type": "microvm"}))
    assert "embedded" not in found
    assert "there is no such file" in found["qemu"]
    assert found["ovmf"].startswith("OVMF has no build for the machine microvm")
