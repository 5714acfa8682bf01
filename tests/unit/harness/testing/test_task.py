"""The fake task keeps the contract of tasks, and the contract catches tasks that do not."""

from itertools import count

import pytest

from timetrial.record import Message, Problem, Prompt
from timetrial.testing import FakeTask, GraderContract, TaskContract


class TestFakeTask(TaskContract):
    @pytest.fixture
    def task(self):
        return FakeTask()


class Faulty(FakeTask):
    def __init__(self, **instead):
        super().__init__()
        vars(self).update(instead)


def problems(*golds, **instead):
    made = [Problem(**{"id": "1", "text": f"problem {n}", "gold": gold, **instead}) for n, gold in enumerate(golds)]
    return Faulty(problems=lambda: made)


def always_asks(role):
    prompt = Prompt(problem="repeat/0", messages=(Message(role, "Well?"),))
    return Faulty(prompt=lambda problem: prompt)


numbers = count()

FAULTS = {
    "no version": (TaskContract.test_it_has_everything_the_protocol_asks_for, Faulty(version=""), "version"),
    "no tokens": (TaskContract.test_it_has_everything_the_protocol_asks_for, Faulty(max_tokens=0), "max_tokens"),
    "an empty stop string": (TaskContract.test_it_has_everything_the_protocol_asks_for, Faulty(stop=("",)), "stop"),
    "no problems": (TaskContract.test_its_problems_are_the_same_every_time, problems(), "at least one problem"),
    "changing problems": (
        TaskContract.test_its_problems_are_the_same_every_time,
        Faulty(problems=lambda: [next(numbers)]),
        "in the same order",
    ),
    "doubled ids": (TaskContract.test_the_ids_of_its_problems_are_unique, problems("1", "2"), "have the id '1'"),
    "a missing gold answer": (TaskContract.test_its_problems_are_complete, problems(" "), "no gold answer"),
    "level 6": (TaskContract.test_its_problems_are_complete, problems("1", level=6), "level 6"),
    "a prompt of another problem": (
        TaskContract.test_its_prompts_are_deterministic_and_end_with_the_user,
        always_asks("user"),
        "the prompt of 'repeat/1' names problem 'repeat/0'",
    ),
    "a prompt without a user": (
        TaskContract.test_its_prompts_are_deterministic_and_end_with_the_user,
        always_asks("system"),
        "must be the user's",
    ),
    "one prompt for all": (
        TaskContract.test_different_problems_have_different_prompts,
        always_asks("user"),
        "have the same prompt",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_contract_catches(fault):
    check, task, message = FAULTS[fault]
    with pytest.raises(AssertionError, match=message):
        check(TaskContract(), task)


@pytest.mark.parametrize(
    ("extract", "message"),
    [
        (str.strip, "an empty answer is no answer"),
        (len, "must return str or None"),
        (lambda text: str(next(numbers)), "the same answer every time"),
    ],
)
def test_the_contract_catches_bad_extraction(extract, message):
    with pytest.raises(AssertionError, match=message):
        TaskContract().test_extraction_survives_any_text(Faulty(extract=extract), " ")


def test_the_contract_checks_the_tasks_own_grader_on_its_gold_answers(request):
    class Contract(TaskContract):
        pass

    names = [name for name in dir(Contract) if name.startswith("test_")]
    assert set(names) > {name for name in dir(GraderContract) if name.startswith("test_")}
    task = FakeTask(num_problems=3)
    assert Contract.grader.__wrapped__(Contract(), task) is task.grader
    assert list(Contract.answers.__wrapped__(Contract(), task)) == ["11", "48", "85"]
