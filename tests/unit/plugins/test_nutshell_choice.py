"""The nutshell's multiple-choice set: always the same items, one right choice each, none of them met in training."""

from collections import Counter

import pytest

from timetrial_plugins.nutshell.choice import NUM_PER_SUBJECT, choice_items
from timetrial_plugins.nutshell.generator import test_problems as nutshell_problems
from timetrial_plugins.nutshell.tokenizer import build_tokenizer


@pytest.fixture(scope="module")
def items():
    return choice_items()


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


def test_every_subject_has_as_many_items(items):
    assert Counter(item.subject for item in items) == dict.fromkeys(
        ("fact", "operation", "thing", "person", "reading"), NUM_PER_SUBJECT
    )
    assert len({item.id for item in items}) == len(items)


def test_an_item_has_four_different_choices(items):
    assert all(len(set(item.choices)) == 4 and 0 <= item.gold < 4 for item in items)


def test_no_place_is_right_much_more_often_than_others(items):
    """400 items over four places: 100 each, with a standard deviation below 9."""
    assert all(70 <= count <= 130 for count in Counter(item.gold for item in items).values())


def test_stories_differ_from_each_other_and_from_the_tests(items):
    questions = [item.question for item in items]
    assert len(set(questions)) == len(questions)
    assert not {problem.text for problem in nutshell_problems()} & set(questions)


def test_facts_are_right_and_only_the_right_one_is(items):
    for item in items:
        if item.subject == "fact":
            calculation = item.start.rpartition("\n")[2].rstrip()
            start = min(index for index, mark in enumerate(calculation) if mark.isdigit())
            expression = calculation[start:]
            value = eval(expression)  # digits and + - * / of our own making
            assert [float(choice.removeprefix("= ")) == value for choice in item.choices].index(True) == item.gold


def test_no_choice_is_the_beginning_of_the_right_one_or_the_other_way_round(items):
    """Else its likelihood could not be below the other's, whatever a model knows."""
    for item in items:
        right, wrong = item.choices[item.gold], [choice for choice in item.choices if choice != item.choices[item.gold]]
        assert not any(right.startswith(choice) or choice.startswith(right) for choice in wrong)


def test_readings_end_with_the_result_of_the_last_step(items):
    for item in items:
        if item.subject == "reading":
            last = item.start.rpartition("= ")[2].split()[0]
            assert item.choices[item.gold] == last


def test_things_and_people_that_are_wrong_are_not_in_the_story(items):
    for item in items:
        if item.subject in ("thing", "person"):
            mentioned = [choice in f"{item.question} {item.start}" for choice in item.choices]
            assert mentioned.count(True) <= 1 and mentioned[item.gold] in (True, item.subject == "thing")


def test_what_stands_before_the_gap_is_the_same_tokens_with_every_choice(items, tokenizer):
    for item in items:
        before = tokenizer.encode(f"{item.question}\n\n{item.start}").ids
        for choice in item.choices:
            whole = tokenizer.encode(f"{item.question}\n\n{item.start} {choice}").ids
            assert whole[: len(before)] == before


def test_all_words_are_in_the_vocabulary(items, tokenizer):
    """A word that is not falls apart into bytes, which no model of the nutshell has met."""
    words = {word for item in items for choice in item.choices for word in choice.split() if word.isalpha()}
    assert all(len(tokenizer.encode(f" {word}").ids) == 1 for word in words)


def test_lm_eval_asks_them_after_the_beginning_of_the_solution(items):
    tasks = pytest.importorskip("lm_eval.tasks")
    from timetrial_plugins.lm_eval_tasks.offered import OWN_TASKS

    manager = tasks.TaskManager(include_path=str(OWN_TASKS), include_defaults=False)
    task = manager.load(["nutshell_choice"])["tasks"]["nutshell_choice"]
    task.build_all_requests(limit=1, rank=0, world_size=1)
    item = items[0]
    assert [request.args for request in task.instances] == [
        (f"{item.question} {item.start}", f" {choice}") for choice in item.choices
    ]
    assert task.process_results(
        task.eval_docs[0], [(-1.0, False)] * item.gold + [(-0.5, True)] + [(-1.0, False)] * (3 - item.gold)
    ) == {"acc": 1.0}
