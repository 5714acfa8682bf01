"""The second prompt length that a run times, and which rows T*(k) keeps to."""

import pytest

from timetrial.config import TimingGrid
from timetrial.record import Completion, Timing
from timetrial.stages.contexts import mean_context, spanning_contexts
from timetrial.stages.derive import current_timings
from timetrial.statistics.step_seconds import spans_contexts
from timetrial.store import RunFolder


@pytest.fixture
def folder(tmp_path):
    run = RunFolder(tmp_path)

    def write(*records):
        with run.locked(), run.appending(type(records[0])) as file:
            file.append(records)
        return run

    return write


def grid(prompt=50, new=60):
    return TimingGrid(batches=(1, 2), prompt_tokens=(prompt,), new_tokens=new, spans_contexts=True)


@pytest.mark.parametrize(
    ("tokens", "second"),
    [
        (400, 360),  # prompt 20 + 400 tokens: the steps end at 420
        (100, 91),  # close to the grid's own: one and a half times its mean context
    ],
)
def test_the_second_prompt_reaches_the_longest_context_of_the_run(folder, completion, tokens, second):
    made = spanning_contexts(folder(completion("a", 0, tokens), completion("a", 1, 30)), grid())
    assert made.prompt_tokens == (50, second) and made.new_tokens == 60
    assert spans_contexts(mean_context(prompt, 60) for prompt in made.prompt_tokens)


def test_below_a_very_long_prompt_the_second_is_shorter(folder, completion):
    assert spanning_contexts(folder(completion("a", 0, 100)), grid(prompt=2_000)).prompt_tokens == (2_000, 60)


def test_what_was_timed_before_is_kept_unless_contexts_have_grown_far(folder, completion, timing):
    run = folder(completion("a", 0, 400))
    folder(timing(1, 50, new_tokens=60), timing(1, 360, new_tokens=60))
    folder(completion("b", 0, 600))
    assert spanning_contexts(run, grid()).prompt_tokens == (50, 360)
    folder(completion("c", 0, 2_000))
    assert spanning_contexts(run, grid()).prompt_tokens == (50, 1_960)


def test_without_completions_the_grid_stays_as_it_is(tmp_path, folder, completion):
    assert spanning_contexts(RunFolder(tmp_path), grid()) == grid()
    assert spanning_contexts(folder(completion("a", 0, None)), grid()) == grid()


def test_a_grid_of_several_prompt_lengths_stays_as_it_is(folder, completion):
    several = TimingGrid(batches=(1,), prompt_tokens=(10, 99), new_tokens=4, spans_contexts=True)
    assert spanning_contexts(folder(completion("a", 0, 400)), several) == several


def test_the_second_context_says_nothing_of_the_seconds_of_k_samples(folder, timing):
    own = [timing(batch, 50, repeat=repeat) for batch in (1, 2) for repeat in (0, 1)]
    run = folder(own[0], timing(1, 150), *own[1:], timing(2, 150), timing(1, 50, engine="paper-style"))
    assert list(run.read(Timing)) != own
    for asked in (None, TimingGrid(prompt_tokens=(), new_tokens=None), TimingGrid(prompt_tokens=(50,), new_tokens=8)):
        assert current_timings(run, asked) == own
    assert {row.prompt_tokens for row in current_timings(run, TimingGrid(prompt_tokens=(150,), new_tokens=8))} == {150}
    assert current_timings(run, TimingGrid(prompt_tokens=(51,), new_tokens=8)) == []


def test_of_several_machines_the_one_that_timed_the_grid_last_counts(folder, timing):
    run = folder(timing(1, 50), timing(1, 50, environment="there"), timing(1, 150, environment="elsewhere"))
    assert {row.environment for row in current_timings(run, None)} == {"there"}
    assert not run.has(Completion) and current_timings(RunFolder(run.path / "empty"), None) == []
