"""lm-eval's arguments of generation become timetrial's sampling, by lm-eval's rules, or are refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from lm_eval.api.instance import Instance

from timetrial.error import UnknownNameError, UsageError
from timetrial.progress import silent
from timetrial.protocol import Sampling
from timetrial.testing import FakeClock
from timetrial_plugins.general.generation import DEFAULT_MAX_TOKENS, drawings, sampling_of, streams_of
from timetrial_plugins.general.model import DEFAULT_MAX_LENGTH, TimetrialLM
from timetrial_plugins.general.opening import OpenedModel, sequences_at_once


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, Sampling(temperature=0, max_tokens=DEFAULT_MAX_TOKENS)),
        ({"until": "\n"}, Sampling(temperature=0, max_tokens=DEFAULT_MAX_TOKENS, stop=("\n",))),
        ({"until": ["a", "", "b", "a"], "max_gen_toks": 7}, Sampling(temperature=0, max_tokens=7, stop=("a", "b"))),
        ({"max_new_tokens": "9"}, Sampling(temperature=0, max_tokens=9)),
        ({"do_sample": False, "temperature": 0.0}, Sampling(temperature=0, max_tokens=DEFAULT_MAX_TOKENS)),
        ({"temperature": 0.5, "max_gen_toks": 3}, Sampling(temperature=0.5, max_tokens=3)),
        ({"do_sample": True, "max_gen_toks": 3}, Sampling(temperature=1.0, max_tokens=3)),
        (
            {"do_sample": True, "temperature": 0.7, "top_p": 0.9, "top_k": 5, "max_gen_toks": 3},
            Sampling(temperature=0.7, top_p=0.9, top_k=5, max_tokens=3),
        ),
        ({"num_beams": 1, "top_k": 0, "max_gen_toks": 3}, Sampling(temperature=0, max_tokens=3)),
    ],
)
def test_arguments_mean_what_they_mean_to_lm_eval(arguments, expected):
    assert sampling_of(arguments, seed=0) == expected


@pytest.mark.parametrize("arguments", [{"num_beams": 4}, {"repetition_penalty": 1.2}, {"max_length": 5}])
def test_what_the_engine_does_not_do_is_refused_by_name(arguments):
    ((name, value),) = arguments.items()
    with pytest.raises(UsageError, match=f"{name}={value}"):
        sampling_of(arguments, seed=0)


def test_requests_that_ask_alike_are_generated_together():
    one, two = {"until": ["x"], "max_gen_toks": 2}, {"max_gen_toks": 2}
    assert [drawing.places for drawing in drawings([one, two, dict(one)], seed=0)] == [[0, 2], [1]]


def test_each_repeat_of_a_context_has_random_numbers_of_its_own_wherever_it_stands():
    assert len(set(streams_of(["a", "a", "b"], 0))) == 3
    assert streams_of(["b", "a", "a"], 0)[1:] == streams_of(["a", "a", "b"], 0)[:2]
    assert streams_of(["a"], 0) != streams_of(["a"], 1)


def request(context: str, **arguments: object) -> Instance:
    return Instance("generate_until", {}, (context, arguments), 0)


@pytest.fixture
def lm(long_checkpoint: Path) -> TimetrialLM:
    return loaded(str(long_checkpoint))


def loaded(model: str | OpenedModel, **options: object) -> TimetrialLM:
    lm = TimetrialLM(model, device="cpu", dtype="float32", **options)
    lm.progress = silent
    return lm


def test_sampled_texts_do_not_depend_on_the_batch_or_the_order(long_checkpoint):
    asked = [request(context, do_sample=True, temperature=1.0, max_gen_toks=8) for context in ("one", "two", "one")]
    texts = loaded(str(long_checkpoint), batch_size=3).generate_until(asked)
    assert texts[0] != texts[2]
    assert loaded(str(long_checkpoint), batch_size=1).generate_until(asked[1:]) == [texts[1], texts[0]]


def test_greedy_repeats_are_equal_and_an_empty_context_is_asked_after_the_first_token(lm):
    first, second, empty = lm.generate_until([request("one", max_gen_toks=6)] * 2 + [request("", max_gen_toks=6)])
    assert first == second and isinstance(empty, str)


def test_a_limit_that_fills_the_context_is_refused_with_both_numbers(lm):
    with pytest.raises(UsageError, match=r"4,000 tokens, and the model's max_length is 2,048"):
        lm.generate_until([request("one", max_gen_toks=4000)])


def test_a_text_stops_before_the_stop_string(lm):
    whole = lm.generate_until([request("one", max_gen_toks=12)])[0]
    assert lm.generate_until([request("one", max_gen_toks=12, until=[whole[4:6]])]) == [
        whole[: whole.index(whole[4:6])]
    ]


def test_seconds_are_counted_on_the_monotonic_clock_around_requests(lm):
    lm.clock = FakeClock(step_s=2.0)
    lm.generate_until([request("one", max_gen_toks=2)])
    lm.loglikelihood([Instance("loglikelihood", {}, ("one", " two"), 0)])
    assert lm.request_s == 4.0


def test_a_model_whose_context_nothing_bounds_gets_a_stated_bound(kinds, long_checkpoint):
    lm = loaded(OpenedModel(kinds("llamba"), long_checkpoint))
    assert lm.max_length == DEFAULT_MAX_LENGTH
    assert lm.loglikelihood_rolling([Instance("loglikelihood_rolling", {}, ("one two",), 0)])[0] < 0


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"dtyp": "float32"}, UnknownNameError, "did you mean 'dtype'"),
        ({"batch_size": "many"}, UsageError, "batch_size is 'many'"),
        ({"max_length": 0}, UsageError, "max_length is 0"),
    ],
)
def test_wrong_model_arguments_are_refused_before_anything_is_loaded(long_checkpoint, options, error, said):
    with pytest.raises(error, match=said):
        TimetrialLM(str(long_checkpoint), **options)


@pytest.mark.parametrize(
    ("batch_size", "most", "expected"),
    [(4, None, 4), ("4", 9, 4), ("auto", None, None), ("auto:2", None, None), (None, None, None), ("auto", 3, 3)],
)
def test_batch_sizes_are_read_as_lm_eval_writes_them(batch_size, most, expected):
    assert sequences_at_once(batch_size, most) == expected
