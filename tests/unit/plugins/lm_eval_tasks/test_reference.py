"""`lm-eval:...` names one task and a choice of its settings, or is refused with what was expected."""

from pathlib import Path

import pytest

from timetrial.error import UsageError
from timetrial_plugins.lm_eval_tasks.reference import Reference, parse_reference


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gsm8k", Reference(name="gsm8k")),
        ("gsm8k:fewshot=0", Reference(name="gsm8k", num_fewshot=0)),
        (
            "gsm8k:filter=flexible-extract:fewshot=8",
            Reference(name="gsm8k", filter="flexible-extract", num_fewshot=8),
        ),
        ("my_task:grader=math", Reference(name="my_task", grader="math")),
        ("my/tasks/sums", Reference(name="sums", folder=Path("my/tasks"))),
        ("/sums", Reference(name="sums", folder=Path("/"))),
        ("C:/tasks/sums:fewshot=1", Reference(name="sums", folder=Path("C:/tasks"), num_fewshot=1)),
    ],
)
def test_a_reference_is_a_name_with_options(text, expected):
    assert parse_reference(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "followed by the name of one of its tasks"),
        ("gsm8k:fewshots=1", "did you mean 'fewshot'"),
        ("gsm8k:fewshot=two", "expected a number of worked examples"),
        ("gsm8k:fewshot=1:fewshot=2", "expected one value for fewshot"),
        ("gsm8k:filter=", "expected one value for filter"),
        ("gsm8k:grader=maths", "did you mean 'math'"),
    ],
)
def test_a_bad_reference_says_what_is_expected(text, message):
    with pytest.raises(UsageError, match=message):
        parse_reference(text)
