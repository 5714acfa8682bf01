"""Likelihoods read together equal those of one sequence at a time from whole logits, on every kind of model."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from timetrial.error import CheckpointError, UsageError
from timetrial.protocol import OutOfMemory
from timetrial_plugins.engine.model import EngineModel
from timetrial_plugins.general.likelihood import Answer, Likelihoods, SteppingReader, TreeReader, reader_for
from timetrial_plugins.general.sharing import Question, Tree

VOCABULARY = 258


def plain(model: EngineModel, question: Question) -> Answer:
    """Answer one question from the definition: log-softmax over the whole vocabulary, at every position."""
    log_probabilities = model.logits(torch.tensor([question.inputs]))[0].double().log_softmax(dim=1)  # (T, V)
    rows = log_probabilities[question.first :]
    targets = torch.tensor(question.targets)
    chosen = rows.gather(1, targets[:, None]).sum()
    return Answer(float(chosen), bool((rows.argmax(dim=1) == targets).all()))


def multiple_choice(seed: int) -> list[Question]:
    """Return questions of all the kinds there are: shared contexts, worked examples, prefixes, repeats, greedy ones."""
    draw = random.Random(seed)
    examples = [draw.randrange(VOCABULARY) for _ in range(40)]
    questions = []
    for number in range(8):
        context = (examples if number % 2 else []) + [draw.randrange(VOCABULARY) for _ in range(draw.randrange(1, 30))]
        continuations = [[draw.randrange(VOCABULARY) for _ in range(draw.randrange(1, 6))] for _ in range(3)]
        continuations += [continuations[0] + [5], continuations[1], [draw.randrange(VOCABULARY)]]
        questions += [Question(tuple(context + c)[:-1], tuple(c)) for c in continuations]
    return questions


@pytest.fixture(params=["llama", "llamba", "mamba1", "mamba2"])
def model(request: pytest.FixtureRequest, kinds: Callable[[str], EngineModel]) -> EngineModel:
    return kinds(request.param)


@pytest.mark.parametrize("most_sequences", [None, 3])
def test_what_is_read_together_equals_whole_logits_of_each_sequence(model, most_sequences):
    questions = multiple_choice(1)
    answers = Likelihoods(reader_for(model), most_sequences).answer(questions, lambda count: None)
    for answer, question in zip(answers, questions, strict=True):
        expected = plain(model, question)
        assert answer.log_likelihood == pytest.approx(expected.log_likelihood, rel=1e-6, abs=1e-5)
        assert answer.is_greedy == expected.is_greedy


def test_a_greedy_continuation_is_said_to_be_one(model):
    context = [1, 2, 3, 4, 5, 6, 7, 8, 9]
    tokens = list(context)
    for _ in range(3):
        tokens.append(int(model.logits(torch.tensor([tokens]))[0, -1].argmax()))
    greedy = Question(tuple(tokens[:-1]), tuple(tokens[-3:]))
    other = Question(tuple(tokens[:-1]), (*tokens[-3:-1], (tokens[-1] + 1) % VOCABULARY))
    answers = Likelihoods(reader_for(model), None).answer([other, greedy, other], lambda count: None)
    assert [answer.is_greedy for answer in answers] == [False, True, False]


def test_progress_counts_every_question_once(model):
    questions, counts = multiple_choice(2), []
    Likelihoods(reader_for(model), 4).answer(questions, counts.append)
    assert sum(counts) == len(questions) and len(counts) > 1


def test_no_questions_have_no_answers(model):
    assert Likelihoods(reader_for(model), None).answer([], lambda count: None) == []


class Cramped:
    """A reader on which no more than some tokens fit."""

    def __init__(self, reader: Any, most: int) -> None:
        self._reader, self._most = reader, most
        self.tokens_at_once, self.cost = reader.tokens_at_once, reader.cost
        self.num_failures = 0

    def read(self, trees: Sequence[Tree], questions: Sequence[Question]):
        if sum(tree.size for tree in trees) > self._most:
            self.num_failures += 1
            raise OutOfMemory("full")
        return self._reader.read(trees, questions)


def test_a_batch_that_does_not_fit_is_read_in_parts_with_the_same_answers(model):
    questions, reader = multiple_choice(3), reader_for(model)
    cramped = Cramped(reader, most=80)
    answers = Likelihoods(cramped, None).answer(questions, lambda count: None)
    expected = Likelihoods(reader, None).answer(questions, lambda count: None)
    assert cramped.num_failures
    for one, two in zip(answers, expected, strict=True):
        assert one.log_likelihood == pytest.approx(two.log_likelihood, rel=1e-6, abs=1e-5)


def test_a_sequence_that_does_not_fit_alone_is_refused_with_its_length(kinds):
    reader = Cramped(reader_for(kinds("llama")), most=10)
    with pytest.raises(UsageError, match="a sequence of 20 tokens does not fit"):
        Likelihoods(reader, None).answer([Question(tuple(range(20)), (1,))], lambda count: None)


def test_logits_that_are_not_numbers_are_an_error_and_no_likelihood(kinds):
    class Broken(TreeReader):
        def read(self, trees, questions):
            return (likely._replace(log_probability=float("nan")) for likely in super().read(trees, questions))

    with pytest.raises(CheckpointError, match="not numbers"):
        Likelihoods(Broken(kinds("llama").module), None).answer(multiple_choice(4), lambda count: None)


def test_each_family_is_read_in_the_way_it_allows(kinds):
    assert isinstance(reader_for(kinds("llama")), TreeReader)
    assert all(isinstance(reader_for(kinds(kind)), SteppingReader) for kind in ("llamba", "mamba1", "mamba2"))


def test_a_model_with_an_engine_of_its_own_is_asked_for_its_logits(kinds):
    class Foreign:
        def __init__(self, model):
            self.logits = model.logits

    model, questions = kinds("llama"), multiple_choice(5)[:9]
    answers = Likelihoods(reader_for(Foreign(model)), None).answer(questions, lambda count: None)
    for answer, question in zip(answers, questions, strict=True):
        assert answer.log_likelihood == pytest.approx(plain(model, question).log_likelihood, rel=1e-6, abs=1e-5)
