import hashlib
import itertools
import json
import re
import subprocess
import sys
from fractions import Fraction

import pytest

from timetrial_plugins.nutshell import generator
from timetrial_plugins.nutshell.draft import DIFFICULTIES
from timetrial_plugins.nutshell.generator import (
    LEVELS,
    training_problem,
    training_problems,
)

TEST_PROBLEMS = generator.test_problems()
SOME = [training_problem(seed=3, index=index) for index in range(1500)]

DIGEST_OF_TEST_SET = "fa4bf9461889cf1a3d65757ff602386dd3de21976f59f10a2ead7df2f7583ea0"


def evaluate(expression):
    """Evaluate by the usual precedence, exactly."""
    total = Fraction(0)
    for sign, term in re.findall(r"([+-]?) ?(\d+(?: [*/] \d+)*)", expression):
        value = Fraction(1)
        for operator, number in re.findall(r"([*/]?) ?(\d+)", term):
            value = value / int(number) if operator == "/" else value * int(number)
        total += -value if sign == "-" else value
    return total


def calculations(problem):
    return problem.subject, *(step.expression for step in problem.steps)


def test_the_evaluator_of_this_test_follows_precedence():
    assert evaluate("2 + 3 * 4") == 14
    assert evaluate("80 * 20 / 100") == 16
    assert evaluate("7 - 12 / 4") == 4


@pytest.mark.parametrize("problem", [*TEST_PROBLEMS[::5], *SOME[::25]], ids=lambda p: p.id)
def test_every_step_says_what_its_expression_evaluates_to(problem):
    for step in problem.steps:
        assert evaluate(step.expression) == step.value > 0
        assert f"{step.expression} = {step.value} " in step.text
    assert problem.answer == str(problem.steps[-1].value)


def test_all_values_of_many_problems_are_right():
    for problem in SOME:
        assert all(evaluate(step.expression) == step.value > 0 for step in problem.steps)


def test_a_solution_is_its_steps_and_the_answer_between_blank_lines():
    for problem in TEST_PROBLEMS:
        *steps, last = problem.solution.split("\n\n")
        assert steps == [step.text for step in problem.steps]
        assert last == f"The final answer is {problem.answer}"


def test_texts_are_plain_sentences_without_gaps():
    for problem in [*TEST_PROBLEMS, *SOME]:
        whole = problem.text + problem.solution
        assert whole.isascii() and "{" not in whole and "  " not in whole
        assert problem.text[0].isupper() and problem.text.endswith("?")


def test_numbers_of_the_first_calculation_occur_in_the_story():
    for problem in SOME:
        first = re.findall(r"\d+", problem.steps[0].expression)[0]
        assert re.search(rf"\b{first}\b", problem.text)


def test_levels_set_the_number_of_steps():
    for problem in [*TEST_PROBLEMS, *SOME]:
        fewest, most = DIFFICULTIES[problem.level].steps
        assert fewest <= len(problem.steps) <= most


def test_higher_levels_have_more_steps_and_larger_numbers():
    steps = [DIFFICULTIES[level].steps for level in LEVELS]
    assert all(a[1] < b[0] for a, b in itertools.pairwise(steps))
    sizes = [
        sum(step.value for p in SOME if p.level == level for step in p.steps)
        / sum(len(p.steps) for p in SOME if p.level == level)
        for level in LEVELS
    ]
    assert sizes == sorted(sizes)


def test_the_test_set_has_200_problems_40_a_level():
    assert [p.id for p in TEST_PROBLEMS] == [f"nutshell-test-{i:03d}" for i in range(200)]
    assert [sum(p.level == level for p in TEST_PROBLEMS) for level in LEVELS] == [40] * 5
    assert len({calculations(p) for p in TEST_PROBLEMS}) == 200


def test_the_test_set_never_changes():
    records = [[p.id, p.text, p.solution, p.level, p.subject] for p in TEST_PROBLEMS]
    assert hashlib.sha256(json.dumps(records).encode()).hexdigest() == DIGEST_OF_TEST_SET


def test_training_and_test_share_no_calculation_whatever_the_words():
    assert all(problem.bucket == 0 for problem in TEST_PROBLEMS)
    assert all(problem.bucket != 0 for problem in SOME)
    assert not {calculations(p) for p in TEST_PROBLEMS} & {calculations(p) for p in SOME}


def test_training_fills_every_other_bucket():
    assert {problem.bucket for problem in SOME} == set(range(1, generator.NUM_BUCKETS))


def test_a_training_problem_is_a_function_of_seed_and_index():
    assert training_problem(seed=3, index=11) == SOME[11]
    assert training_problem(seed=4, index=11) != SOME[11]
    assert list(itertools.islice(training_problems(seed=3, start=7), 5)) == SOME[7:12]


def test_both_sets_have_all_subjects_and_levels():
    subjects = {problem.subject for problem in SOME}
    assert len(subjects) == 8
    assert {problem.subject for problem in TEST_PROBLEMS} == subjects
    assert {problem.level for problem in SOME} == set(LEVELS)


def test_the_generator_needs_no_torch_and_no_numpy():
    code = (
        "import sys; from timetrial_plugins.nutshell.generator import test_problems; test_problems();"
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
