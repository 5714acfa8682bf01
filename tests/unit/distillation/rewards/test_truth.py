import pytest

from timetrial_distillation.rewards.truth import true_steps
from timetrial_plugins.nutshell.generator import test_problems, training_problem

PROBLEM = training_problem(0, 0)
STEPS = PROBLEM.solution.split("\n\n")


def test_all_steps_of_all_worked_solutions_are_right():
    for problem in test_problems():
        steps = problem.solution.split("\n\n")
        assert true_steps(problem, steps) == (True,) * len(steps)


def test_the_problem_is_the_one_whose_steps_are_changed_below():
    assert STEPS[2:] == [
        "The school then has 4 + 8 = 12 books.",
        "The school then has 12 + 4 = 16 books.",
        "The school then has 16 + 25 = 41 books.",
        "The final answer is 41",
    ]


@pytest.mark.parametrize(
    "step",
    [
        "The school then has 4 + 8 = 13 books.",
        "The school then has 4 + 7 = 11 books.",
        "The school then has 6 + 6 = 12 books.",
        "The school then has 12 books.",
        "The school then has 4 + 8 = 12 books, or 4 + 8 = 12.",
        "The school then has 4 / 0 = 12 books.",
        "The final answer is 12",
        "1" * 5000 + " + 1 = 12",
    ],
)
def test_a_wrong_step_makes_itself_and_all_later_ones_wrong(step):
    assert true_steps(PROBLEM, [*STEPS[:2], step, *STEPS[3:]]) == (True, True, False, False, False, False)


def test_the_order_of_terms_and_the_words_do_not_matter():
    assert all(true_steps(PROBLEM, [*STEPS[:2], "Now: 8 + 4 = 12", *STEPS[3:]]))


def test_a_wrong_final_answer_and_steps_after_it_are_wrong():
    assert true_steps(PROBLEM, [*STEPS[:-1], "The final answer is 40"])[-2:] == (True, False)
    assert true_steps(PROBLEM, [*STEPS, "4 + 8 = 12"])[-2:] == (True, False)


def test_a_step_left_out_is_an_error_where_it_is_missing():
    assert true_steps(PROBLEM, [STEPS[0], *STEPS[2:]])[:2] == (True, False)
