from functools import partial

import pytest

from timetrial.error import UsageError
from timetrial_distillation.rewards.rollouts import Labeller, RolloutConfig
from timetrial_plugins.rewards.steps import split_steps

TEXTS = {
    "1": ["a\n\nb\n\nso 71", "a\n\nb\n\nso 5"],
    "2": [" x \n\n\n\ny\n\n", "z 72"],
    "3": ["FAIL", " \n\n "],
}


@pytest.fixture
def labeller(scripted, problem_set):
    def make(texts=TEXTS, **config):
        model = scripted(texts)
        values = {"samples": 2, "rollouts": 3} | config
        splitter = partial(split_steps, splitter="blank-line")
        return model, Labeller(model, problem_set, RolloutConfig(**values), splitter, batch_size=4)

    return make


def test_a_step_is_labelled_by_rollouts_from_its_end_and_the_last_by_its_own_answer(labeller, problem_set):
    model, labels = labeller()
    solutions, _ = labels.label(problem_set.problems)
    assert [item.steps for item in solutions] == [("a", "b", "so 71"), ("a", "b", "so 5"), ("x", "y"), ("z 72",)]
    # ScriptedModel: as many rollouts are right as blank lines stand before them, of three.
    assert [item.right for item in solutions] == [(1, 2, 1), (1, 2, 0), (2, 0), (1,)]
    assert [item.rollouts for item in solutions] == [(3, 3, 1), (3, 3, 1), (3, 1), (1,)]


def test_a_rollout_goes_on_from_the_very_text_of_the_solution(labeller, problem_set):
    model, labels = labeller()
    labels.label(problem_set.problems)
    starts = {request.prompt.start for request in model.asked}
    assert starts == {"", "a\n\n", "a\n\nb\n\n", " x \n\n\n\n"}


def test_a_prefix_that_solutions_share_is_rolled_out_once(labeller, problem_set):
    model, labels = labeller()
    _, counts = labels.label(problem_set.problems)
    rollouts = [request for request in model.asked if request.prompt.start]
    assert len(rollouts) == len(set(rollouts)) == counts.rollouts == 3 * 3
    assert len({request.prompt.problem for request in rollouts}) == 3  # each prefix has random numbers of its own


def test_solutions_that_failed_or_have_no_step_are_left_out_and_counted(labeller, problem_set):
    _, labels = labeller()
    _, counts = labels.label(problem_set.problems)
    assert (counts.failed, counts.solutions, counts.right_solutions, counts.problems) == (2, 4, 2, 3)
    assert (counts.steps, counts.right_steps) == (9, 7)


def test_rollouts_that_failed_count_for_nothing_and_a_step_without_any_leaves_its_solution_out(labeller, problem_set):
    model, labels = labeller({name: ["a\n\nb"] for name in "123"}, samples=1, rollouts=2)
    model.has_failed = lambda problem, sample: problem == "1" or (problem == "2" and sample == 0)
    solutions, counts = labels.label(problem_set.problems)
    assert [(item.problem_id, item.rollouts) for item in solutions] == [("2", (1, 1)), ("3", (2, 1))]
    assert (counts.failed, counts.rollouts) == (1, 3)


def test_labels_do_not_depend_on_which_problems_are_labelled_together(labeller, problem_set):
    _, labels = labeller()
    together, _ = labels.label(problem_set.problems)
    alone = [item for problem in problem_set.problems for item in labels.label([problem])[0]]
    assert together == alone


def test_every_problem_is_told_of_once_when_it_is_finished(labeller, problem_set):
    _, labels = labeller()
    told = []
    labels.label(problem_set.problems, told.append)
    assert told == [1, 1, 1]  # the third has nothing to be rolled out, the others end with their last rollout


def test_without_rollouts_the_outcome_of_a_solution_labels_all_its_steps(labeller, problem_set):
    model, labels = labeller(rollouts=0)
    solutions, counts = labels.label(problem_set.problems)
    assert [item.right for item in solutions] == [(1, 1, 1), (0, 0, 0), (0, 0), (1,)]
    assert all(item.rollouts == (1,) * len(item.steps) for item in solutions)
    assert counts.rollouts == 0 and len(model.asked) == 6


@pytest.mark.parametrize("changes", [{"samples": 0}, {"rollouts": -1}, {"temperature": 0.0}])
def test_counts_that_label_nothing_are_refused(changes):
    with pytest.raises(UsageError, match=f"{next(iter(changes))} is"):
        RolloutConfig(**changes)
