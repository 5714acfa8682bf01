"""Sampling, grading, scoring and measuring: what each stage adds, skips, and does with failures."""

import json
from collections.abc import Iterator, Sequence

import pytest

from timetrial.config import TimingGrid
from timetrial.error import PluginError, UsageError
from timetrial.progress import silent
from timetrial.protocol import Generation, OutOfMemory, PhaseTimes, Request, Sampling
from timetrial.rates import MachineRates
from timetrial.record import Completion, Grade, Problem, Series, StepScores, Timing, Verdict
from timetrial.spec import Origin
from timetrial.stages.grade import GradedTask, grade
from timetrial.stages.judge import Graders
from timetrial.stages.measure import Measurement
from timetrial.stages.report import gather_statistics
from timetrial.stages.sample import (
    SampleJob,
    choose_problems,
    existing_samples,
    missing_requests,
)
from timetrial.stages.score import score
from timetrial.store import RunFolder
from timetrial.testing import EchoModel, FakeClock, FakeRewardModel, FakeTask

SERIES = Series("echo", "repeat", 1.0)
SAMPLING = Sampling(temperature=1.0, max_tokens=64)
ORIGIN = Origin(plugin="fake", distribution="fake-dist", version="1")


def graded_task(task: FakeTask) -> GradedTask:
    problems = {problem.id: problem for problem in task.problems()}
    return GradedTask(task=task, problems=problems, graders=Graders(grader=task.grader))


def sampled(path, samples: int = 4, model: EchoModel | None = None, task: FakeTask | None = None) -> RunFolder:
    folder, task = RunFolder(path), task or FakeTask()
    with folder.locked():
        have = existing_samples(folder)
        requests = missing_requests(task, task.problems(), samples, have.get(SERIES, {}))
        job = SampleJob(series=SERIES, requests=requests, sampling=SAMPLING, batch_size=3, origin=ORIGIN)
        job.run(folder, model or EchoModel(), silent)
    return folder


def texts(folder: RunFolder) -> dict:
    return {completion.key: completion.text for completion in folder.read(Completion)}


class TestProblems:
    problems = tuple(Problem(id=str(number), text="", gold="", level=1 + number % 5) for number in range(100))

    def test_a_limit_draws_every_level_in_its_share_and_keeps_the_order(self):
        chosen = choose_problems("t", self.problems, 20)
        assert [int(problem.id) for problem in chosen] == sorted(int(problem.id) for problem in chosen)
        levels = [problem.level for problem in chosen]
        assert all(3 <= levels.count(level) <= 5 for level in range(1, 6))

    def test_the_draw_is_not_the_first_problems_and_differs_between_tasks(self):
        assert choose_problems("t", self.problems, 20) != self.problems[:20]
        assert choose_problems("t", self.problems, 20) != choose_problems("u", self.problems, 20)

    def test_a_larger_limit_contains_the_smaller_draw(self):
        small = set(choose_problems("t", self.problems, 10))
        assert small <= set(choose_problems("t", self.problems, 30))

    def test_no_problems_too_few_and_repeated_ids_are_refused(self):
        with pytest.raises(UsageError, match="no problems"):
            choose_problems("t", (), None)
        with pytest.raises(UsageError, match="only 100"):
            choose_problems("t", self.problems, 101)
        with pytest.raises(UsageError, match="'7'"):
            choose_problems("t", (*self.problems, self.problems[7]), None)


class TestSample:
    def test_every_problem_gets_every_sample_once(self, tmp_path):
        keys = [completion.key for completion in sampled(tmp_path).read(Completion)]
        assert len(keys) == len(set(keys)) == 8 * 4

    def test_more_samples_only_add(self, tmp_path):
        before = texts(sampled(tmp_path / "grown", 2))
        after = texts(sampled(tmp_path / "grown", 5))
        assert before.items() <= after.items()
        assert after == texts(sampled(tmp_path / "at-once", 5))

    def test_a_model_that_dies_half_way_loses_only_what_was_in_flight(self, tmp_path):
        class Dies(EchoModel):
            def generate(
                self, requests: Sequence[Request], sampling: Sampling, *, batch_size: int
            ) -> Iterator[Generation]:
                for number, generation in enumerate(super().generate(requests, sampling, batch_size=batch_size)):
                    if number == 13:
                        raise KeyboardInterrupt
                    yield generation

        with pytest.raises(KeyboardInterrupt):
            sampled(tmp_path / "killed", model=Dies())
        assert len(texts(RunFolder(tmp_path / "killed"))) == 13
        assert texts(sampled(tmp_path / "killed")) == texts(sampled(tmp_path / "undisturbed"))

    def test_a_model_that_raises_is_named_with_its_plugin_and_what_it_finished_is_kept(self, tmp_path):
        class Breaks(EchoModel):
            def generate(self, requests, sampling, *, batch_size):
                yield next(super().generate(requests, sampling, batch_size=batch_size))
                raise ValueError("no such token")

        with pytest.raises(PluginError, match="fake-dist 1.*ValueError: no such token"):
            sampled(tmp_path, model=Breaks())
        assert len(texts(RunFolder(tmp_path))) == 1

    def test_problems_whose_samples_are_all_equal_are_counted(self, tmp_path):
        def identical(folder):
            (series,) = gather_statistics(folder)
            assert (series.num_problems, series.num_completions) == (8, 32)
            return series.num_identical_problems

        assert identical(sampled(tmp_path / "sure", model=EchoModel(certainty=1e9))) == 8
        assert identical(sampled(tmp_path / "unsure", model=EchoModel(certainty=3))) == 0


class TestGrade:
    def test_every_completion_is_graded_once_and_right(self, tmp_path):
        folder, task = sampled(tmp_path), graded_task(FakeTask())
        with folder.locked():
            assert grade(folder, {"repeat": task}, silent) == 32
            assert grade(folder, {"repeat": task}, silent) == 0
        by_key = {completion.key: completion.text for completion in folder.read(Completion)}
        grades = list(folder.read(Grade))
        assert {record.key for record in grades} == set(by_key)
        for record in grades:
            assert record.answer == FakeTask().extract(by_key[record.key])
            if record.answer is not None:
                gold = task.problems[record.problem].gold
                assert record.correct == (int(record.answer) == int(gold))
        assert any(record.correct for record in grades)

    def test_a_class_is_judged_once_even_across_commands(self, tmp_path):
        class Counting(FakeTask):
            def __init__(self):
                super().__init__()
                self.judged = []
                inner = self.grader

                class Grader(type(inner)):
                    def grade(_, gold, answer):
                        self.judged.append((gold, answer))
                        return inner.grade(gold, answer)

                self.grader = Grader()

        folder = sampled(tmp_path, 2, model=EchoModel(certainty=1e9))
        first, second = Counting(), Counting()
        with folder.locked():
            grade(folder, {"repeat": graded_task(first)}, silent)
        assert len(first.judged) == 8
        sampled(tmp_path, 4, model=EchoModel(certainty=1e9))
        with folder.locked():
            grade(folder, {"repeat": graded_task(second)}, silent)
        assert second.judged == []
        assert all(record.correct for record in folder.read(Grade))

    @pytest.mark.parametrize("broken", ["extract", "answer_class", "grade"])
    def test_a_failing_task_is_an_unknown_verdict_with_the_cause_never_a_wrong_answer(self, tmp_path, broken):
        task = FakeTask()

        def fail(*arguments):
            raise ZeroDivisionError("boom")

        setattr(task if broken == "extract" else task.grader, broken, fail)
        folder = sampled(tmp_path, 1, model=EchoModel(certainty=1e9))
        with folder.locked():
            grade(folder, {"repeat": graded_task(task)}, silent)
        for record in folder.read(Grade):
            assert record.correct is None
            assert "boom" in record.reason

    def test_no_answer_is_wrong_and_abstains_and_says_if_it_was_cut(self, tmp_path):
        task = graded_task(FakeTask())
        base = dict(
            model="m", task="repeat", temperature=1.0, problem="repeat/0", num_prompt_tokens=1, prompt_digest=""
        )
        cut = task.grade(Completion(**base, sample=0, text="no digits", finish="length", num_tokens=9))
        assert (cut.answer, cut.answer_class, cut.correct) == (None, None, False)
        assert cut.kind == "cut"
        silent = task.grade(Completion(**base, sample=3, text="no digits", finish="stop", num_tokens=9))
        assert (silent.answer, silent.correct, silent.kind) == (None, False, "no answer")
        inside = task.grade(Completion(**base, sample=2, text="it is 12", finish="length", num_tokens=9))
        assert (inside.answer, inside.correct) == (None, False), "12 may be the beginning of 123"
        failed = task.grade(Completion(**base, sample=1, text="", finish="error", num_tokens=0, error="out of tokens"))
        assert (failed.answer_class, failed.correct, failed.reason) == (None, None, "generation failed: out of tokens")
        assert {record.grader for record in (cut, silent, inside, failed)} == {"fake-integer/1"}

    def test_unknown_verdicts_keep_their_class(self, tmp_path):
        task = FakeTask()
        task.grader.grade = lambda gold, answer: Verdict(correct=None, reason="too hard")
        folder = sampled(tmp_path, 1, model=EchoModel(certainty=1e9))
        with folder.locked():
            grade(folder, {"repeat": graded_task(task)}, silent)
        assert all(
            (record.correct, record.reason) == (None, "too hard") and record.answer_class
            for record in folder.read(Grade)
        )


class TestScore:
    def run(self, folder, reward_model, name="fake") -> int:
        with folder.locked():
            return score(folder, {"repeat": graded_task(FakeTask())}, name, reward_model, silent)

    def test_every_completion_gets_its_own_scores_once(self, tmp_path):
        folder = sampled(tmp_path)
        assert self.run(folder, FakeRewardModel()) == 32
        assert self.run(folder, FakeRewardModel()) == 0
        by_key = texts(folder)
        for record in folder.read(StepScores):
            assert record.scores == tuple(1 / (1 + len(line)) for line in by_key[record.key].split("\n"))

    def test_two_reward_models_stand_side_by_side(self, tmp_path):
        folder = sampled(tmp_path)
        self.run(folder, FakeRewardModel(), "one")
        assert self.run(folder, FakeRewardModel(), "two") == 32

    @pytest.mark.parametrize("result", [[], [()]])
    def test_a_reward_model_that_breaks_its_contract_is_named(self, tmp_path, result):
        class Broken(FakeRewardModel):
            def score(self, problem, prompt, completions):
                return result * len(completions)

        with pytest.raises(PluginError, match="'fake'"):
            self.run(sampled(tmp_path), Broken())


class TestMeasure:
    grid = TimingGrid(batches=(4, 1, 2), prompt_tokens=(3,), new_tokens=2, repeats=3, warmups=2)

    def run(self, folder, model=None, grid=None, environment="here") -> int:
        with folder.locked():
            return Measurement(
                name="echo",
                model=model or EchoModel(),
                grid=grid or self.grid,
                environment=environment,
                clock=FakeClock(),
                seed=0,
            ).run(folder, silent)

    def test_every_cell_is_timed_after_its_warm_ups_in_random_order(self, tmp_path):
        folder = RunFolder(tmp_path)
        assert self.run(folder) == 9
        rows = list(folder.read(Timing))
        warm, timed = rows[:6], rows[6:]
        assert [row.batch for row in warm] == [1, 1, 2, 2, 4, 4]
        assert all(row.is_warmup for row in warm) and not any(row.is_warmup for row in timed)
        assert sorted((row.batch, row.repeat) for row in timed) == [(b, r) for b in (1, 2, 4) for r in range(3)]
        assert [row.batch for row in timed] != sorted(row.batch for row in timed)
        assert all(row.decode_s == row.prefill_s == 1.0 for row in rows)

    def test_only_what_is_missing_is_timed(self, tmp_path):
        folder = RunFolder(tmp_path)
        self.run(folder, grid=TimingGrid(batches=(1, 2), prompt_tokens=(3,), new_tokens=2, repeats=2))
        assert self.run(folder) == 9 - 4
        assert self.run(folder) == 0

    def test_another_machine_or_length_is_timed_anew(self, tmp_path):
        folder = RunFolder(tmp_path)
        self.run(folder)
        assert self.run(folder, environment="elsewhere") == 9
        assert self.run(folder, grid=TimingGrid(batches=(1,), prompt_tokens=(3,), new_tokens=9, repeats=3)) == 3

    def test_a_batch_that_does_not_fit_is_recorded_and_larger_ones_are_not_tried(self, tmp_path):
        tried = []

        class Small(EchoModel):
            def decode_timing(self, batch, prompt_tokens, new_tokens, *, clock, seed):
                tried.append(batch)
                if batch > 1:
                    raise OutOfMemory
                return PhaseTimes(prefill_s=0.1, decode_s=0.2)

        folder = RunFolder(tmp_path)
        self.run(folder, Small())
        assert set(tried) == {1, 2}
        lost = [row for row in folder.read(Timing) if row.status == "out_of_memory"]
        assert [(row.batch, row.decode_s, row.prefill_s) for row in lost] == [(2, None, None)]
        assert self.run(folder, Small()) == 0

    def test_every_batch_is_timed_after_every_prompt_and_only_what_is_missing(self, tmp_path):
        folder = RunFolder(tmp_path)
        self.run(folder, grid=TimingGrid(batches=(1, 2), prompt_tokens=(3,), new_tokens=2, repeats=2))
        grid = TimingGrid(batches=(1, 2), prompt_tokens=(3, 9), new_tokens=2, repeats=2)
        assert self.run(folder, grid=grid) == 4
        timed = [row for row in folder.read(Timing) if not row.is_warmup]
        assert sorted({(row.prompt_tokens, row.batch) for row in timed}) == [(3, 1), (3, 2), (9, 1), (9, 2)]
        assert self.run(folder, grid=grid) == 0

    def test_out_of_memory_after_a_long_prompt_leaves_short_ones_alone(self, tmp_path):
        class Small(EchoModel):
            def decode_timing(self, batch, prompt_tokens, new_tokens, *, clock, seed):
                if batch * prompt_tokens > 10:
                    raise OutOfMemory
                return PhaseTimes(prefill_s=0.1, decode_s=0.2)

        folder = RunFolder(tmp_path)
        grid = TimingGrid(batches=(1, 2, 4), prompt_tokens=(9, 2), new_tokens=2, repeats=1)
        assert self.run(folder, Small(), grid) == 1 + 3
        lost = {(row.prompt_tokens, row.batch) for row in folder.read(Timing) if row.status == "out_of_memory"}
        assert lost == {(9, 2)}, "4 after 9 is not tried"

    def test_a_row_says_what_it_cost_and_how_it_was_run(self, tmp_path):
        class Described(EchoModel):
            description = {"family": "echo", "kernels": "graph"}

        rates = MachineRates(bandwidths=((1, 1e6),), flops_per_s=1e6, device="cpu", dtype="float32")
        folder, grid = RunFolder(tmp_path), TimingGrid(batches=(2,), prompt_tokens=(3,), new_tokens=4, repeats=1)
        with folder.locked():
            Measurement(
                name="echo",
                model=Described(),
                grid=grid,
                environment="here",
                clock=FakeClock(),
                seed=0,
                weights="random",
                rates=rates,
            ).run(folder, silent)
        row = list(folder.read(Timing))[-1]
        assert (row.weights, row.kernels, row.is_prompt_shared) == ("random", "graph", False)
        assert row.step_bytes == (Described().costs(2, 4).bytes_moved + Described().costs(2, 7).bytes_moved) / 2
        assert row.floor_s == pytest.approx(4 * (row.step_flops + row.step_bytes) / 1e6), "an echo has no weights"
        assert row.floor_share == pytest.approx(row.floor_s / 1.0)

    def test_rows_from_before_costs_can_still_be_read(self, tmp_path):
        folder = RunFolder(tmp_path)
        self.run(folder)
        path = tmp_path / "timings.jsonl"
        new = ("weights", "kernels", "is_prompt_shared", "step_bytes", "step_flops", "floor_s")
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        old = [{name: value for name, value in line.items() if name not in new} for line in lines]
        path.write_text("".join(json.dumps(line) + "\n" for line in old))
        rows = list(folder.read(Timing))
        assert len(rows) == 15 and {(row.weights, row.step_bytes, row.floor_share) for row in rows} == {
            ("checkpoint", None, None)
        }
        assert self.run(folder) == 0, "and they count as done"
