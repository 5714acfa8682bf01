"""Problems generated again: what is measured, recorded, resumed and refused."""

import pytest

from timetrial.error import UsageError
from timetrial.progress import silent
from timetrial.protocol import Sampling
from timetrial.record import EndToEnd, Series
from timetrial.spec import Origin
from timetrial.stages.end_to_end import EndToEndJob, EndToEndSettings, Reference, check_can_validate, some_problems
from timetrial.store import RunFolder
from timetrial.testing import EchoModel, FakeClock, FakeTask


@pytest.fixture
def job():
    task = FakeTask()

    def make(problems=3, **changes):
        fields = {
            "series": Series("echo", "repeat", 1.0),
            "prompts": [task.prompt(problem) for problem in task.problems()[:problems]],
            "samples": 4,
            "repeats": 2,
            "reference": Reference(5, 2),
            "sampling": Sampling(temperature=1.0, max_tokens=64),
            "environment": "here",
            "origin": Origin(plugin="fakes", distribution="fake", version="0"),
        }
        return EndToEndJob(**{**fields, **changes})

    return make


def run(job, path, model=None):
    folder = RunFolder(path)
    with folder.locked():
        job.run(folder, model or EchoModel(), FakeClock(step_s=2.0), silent)
    return list(folder.read(EndToEnd))


def test_each_problem_is_measured_so_many_times_after_a_warm_up(job, tmp_path):
    rows = run(job(), tmp_path)
    assert [row.is_warmup for row in rows] == [True] + 6 * [False]
    assert sorted((row.problem, row.repeat) for row in rows[1:]) == [
        (f"repeat/{p}", r) for p in range(3) for r in (0, 1)
    ]
    assert {(row.wall_s, row.num_samples, row.environment) for row in rows} == {(2.0, 4, "here")}
    assert {(row.reference_s, row.reference_prompt_tokens, row.reference_new_tokens) for row in rows} == {(2.0, 5, 2)}
    assert all(len(row.lengths) == 4 and min(row.lengths) > 0 and row.num_prompt_tokens > 0 for row in rows)


def test_the_same_samples_come_out_each_time(job, tmp_path):
    rows = run(job(problems=1), tmp_path)
    assert len({tuple(sorted(row.lengths)) for row in rows}) == 1


def test_what_is_measured_is_not_measured_again_and_more_may_be_asked(job, tmp_path):
    first = run(job(), tmp_path)
    assert run(job(), tmp_path) == first
    more = run(job(problems=4, repeats=3), tmp_path)
    assert more[: len(first)] == first and len([row for row in more if not row.is_warmup]) == 12
    assert len(run(job(samples=2), tmp_path)) == len(more) + 7, "another number of samples is another measurement"
    assert len(run(job(environment="there"), tmp_path)) == len(more) + 14, "and so is another machine"


def test_an_interrupted_measurement_keeps_what_is_finished(job, tmp_path):
    class Breaks(EchoModel):
        calls = 0

        def generate(self, requests, sampling, *, batch_size):
            self.calls += 1
            if self.calls == 4:
                raise KeyboardInterrupt
            return super().generate(requests, sampling, batch_size=batch_size)

    with pytest.raises(KeyboardInterrupt):
        run(job(), tmp_path, Breaks())
    rows = run(job(), tmp_path)
    timed = [(row.problem, row.repeat) for row in rows if not row.is_warmup]
    assert len(timed) == len(set(timed)) == 6 and sum(row.is_warmup for row in rows) == 2


def test_a_larger_draw_of_problems_contains_a_smaller_one():
    names = [f"p{number}" for number in range(30)]
    small, large = (list(some_problems("task", names, count)) for count in (5, 12))
    assert large[:5] == small and len(set(large)) == 12
    assert list(some_problems("task", names[::-1], 5)) == small
    assert len(list(some_problems("task", names, 99))) == 30


def test_a_machine_that_did_not_time_the_run_is_refused(grid_rows):
    rows = grid_rows(batches=(1, 2, 4))
    check_can_validate(rows, rows, EndToEndSettings(samples=4), "here")
    with pytest.raises(UsageError, match="this machine, as it is set up, is there.*--time"):
        check_can_validate(rows, rows, EndToEndSettings(samples=4), "there")
    with pytest.raises(UsageError, match="nothing was timed"):
        check_can_validate([], [], EndToEndSettings(), "here")


def test_seconds_that_replay_does_not_know_are_refused(grid_rows):
    rows, short = grid_rows(batches=(1, 2, 4)), grid_rows(prompts=(50,))
    with pytest.raises(UsageError, match="largest timed batch of m is 4. Give --samples 4"):
        check_can_validate(rows, rows, EndToEndSettings(samples=5), "here")
    with pytest.raises(UsageError, match="m: one context only"):
        check_can_validate(short, short, EndToEndSettings(samples=1), "here")


@pytest.mark.parametrize("name", ["problems", "samples", "repeats"])
def test_nothing_to_measure_is_refused(name):
    with pytest.raises(UsageError, match=f"{name} is 0"):
        EndToEndSettings(**{name: 0})
