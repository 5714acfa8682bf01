import json

import pytest

from timetrial_distillation.rewards.labels import LabelledSolution
from timetrial_distillation.rewards.layouts import find_layout


def test_hard_labels_ask_for_any_right_rollout_and_soft_ones_for_their_share(solution):
    labelled = solution([4, 1, 0, 1])
    assert labelled.targets("hard") == (1.0, 1.0, 0.0, 1.0)
    assert labelled.targets("soft") == (1.0, 0.25, 0.0, 1.0)
    assert labelled.is_right and not solution([4, 0]).is_right


def test_a_line_of_json_gives_the_same_solution_back(solution):
    for labelled in (solution([4, 0], truth=(True, False)), solution([1])):
        line = json.loads(json.dumps(labelled.to_json()))
        assert find_layout("auto", list(line)).read(line) == labelled


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": ()},
        {"steps": ("One.", "")},
        {"right": (1,)},
        {"rollouts": (0, 1)},
        {"right": (5, 1)},
        {"right": (-1, 1)},
        {"truth": (True,)},
    ],
)
def test_labels_that_do_not_fit_the_steps_are_refused(changes):
    values = {"problem_id": "a", "problem": "?", "steps": ("One.", "Two."), "right": (1, 1), "rollouts": (4, 1)}
    assert LabelledSolution(**values)
    with pytest.raises(ValueError):
        LabelledSolution(**{**values, **changes})


def test_the_text_is_the_steps_between_blank_lines():
    labelled = LabelledSolution(problem_id="a", problem="?", steps=("One.", "Two."), right=(1, 1), rollouts=(1, 1))
    assert labelled.text == "One.\n\nTwo."
