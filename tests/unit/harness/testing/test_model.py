"""The echo model keeps the contract of models, and the contract catches models that do not."""

from dataclasses import replace

import pytest
import torch

from timetrial.protocol import Sampling
from timetrial.record import Message, Prompt
from timetrial.testing import EchoModel, FakeClock, ModelContract

PROMPTS = [Prompt(problem=str(n), messages=(Message("user", text),)) for n, text in enumerate(["abcdef", "What?"])]
GREEDY = {"prompts": PROMPTS, "greedy": Sampling(temperature=0.0, max_tokens=12)}
SAMPLED = {"prompts": PROMPTS, "sampled": Sampling(temperature=0.8, max_tokens=12)}


class TestEchoModel(ModelContract):
    @pytest.fixture
    def model(self):
        return EchoModel()


class Faulty:
    """An echo model of which a subclass overrides something."""

    def __init__(self):
        self.echo = EchoModel()

    def __getattr__(self, name):
        return getattr(self.echo, name)


class Generates(Faulty):
    """Generates as told by a function of (requests, sampling, batch size, the echo model's generations)."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def generate(self, requests, sampling, *, batch_size):
        right = list(self.echo.generate(requests, sampling, batch_size=batch_size))
        yield from self.change(right, sampling, batch_size)


class SamplesWith(Faulty):
    """Samples otherwise than asked."""

    def __init__(self, **instead):
        super().__init__()
        self.instead = instead

    def generate(self, requests, sampling, *, batch_size):
        return self.echo.generate(requests, replace(sampling, **self.instead), batch_size=batch_size)


class Logits(Faulty):
    """Returns the echo model's logits (B, T, V), changed."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def logits(self, tokens):
        return self.change(self.echo.logits(tokens), tokens)


class OwnClock(Faulty):
    def __init__(self, num_readings):
        super().__init__()
        self.num_readings = num_readings

    def decode_timing(self, batch, prompt_tokens, new_tokens, *, clock, seed):
        for _ in range(self.num_readings):
            clock.now()
        return self.echo.decode_timing(batch, prompt_tokens, new_tokens, clock=FakeClock(0.01), seed=seed)


class AlwaysOne(Faulty):
    def costs(self, batch, context):
        return self.echo.costs(1, context)


def each(**change):
    return lambda right, sampling, batch_size: [replace(one, **change) for one in right]


def text_from(write):
    return Generates(lambda right, _, size: [replace(one, text=write(i, one, size)) for i, one in enumerate(right)])


BATCHED = {**SAMPLED, "batch_size": 2}
CUT = {**SAMPLED, "max_tokens": 3}
ONLY = {"prompts": PROMPTS}

FAULTS = {
    "a lost request": (
        ModelContract.test_it_answers_every_request_exactly_once,
        (Generates(lambda right, *_: right[1:]), SAMPLED),
        "6 requests gave 5 generations",
    ),
    "a doubled request": (
        ModelContract.test_it_answers_every_request_exactly_once,
        (Generates(lambda right, *_: right[:-1] + right[:1]), SAMPLED),
        "no generation for",
    ),
    "a wrong digest": (
        ModelContract.test_what_it_says_of_a_generation_is_true,
        (Generates(each(prompt_digest="0")), SAMPLED),
        "sha256",
    ),
    "a wrong count of the prompt": (
        ModelContract.test_what_it_says_of_a_generation_is_true,
        (Generates(each(num_prompt_tokens=1)), SAMPLED),
        "num_prompt_tokens",
    ),
    "a failure": (
        ModelContract.test_what_it_says_of_a_generation_is_true,
        (Generates(each(finish="error", error="boom")), SAMPLED),
        "boom",
    ),
    "too many tokens": (ModelContract.test_it_honours_max_tokens, (SamplesWith(max_tokens=9), CUT), "3 allowed"),
    "a limit that was not reached": (
        ModelContract.test_it_honours_max_tokens,
        (Generates(each(num_tokens=1)), CUT),
        "the limit was reached",
    ),
    "greedy samples that differ": (
        ModelContract.test_greedy_decoding_is_deterministic,
        (text_from(lambda i, one, size: str(one.request.sample)), GREEDY),
        "greedy samples of one prompt differ",
    ),
    "greedy calls that differ": (
        ModelContract.test_greedy_decoding_is_deterministic,
        (SamplesWith(temperature=2.0), GREEDY),
        "differ between two calls",
    ),
    "another model's logits": (
        ModelContract.test_greedy_decoding_follows_the_logits,
        (Logits(lambda logits, _: logits.roll(1, dims=-1)), GREEDY),
        "logits say 'b', generate says 'a'",
    ),
    "an influence of the batch size": (
        ModelContract.test_batching_does_not_change_completions,
        (text_from(lambda i, one, size: one.text + " " * size), BATCHED),
        "batch size 2 in reverse order",
    ),
    "an influence of the order": (
        ModelContract.test_batching_does_not_change_completions,
        (text_from(lambda i, one, size: str(i)), BATCHED),
        "batch size 2 in reverse order",
    ),
    "an ignored stop string": (
        ModelContract.test_a_stop_string_ends_a_completion_and_is_cut_off,
        (SamplesWith(stop=()), GREEDY),
        "stop string 'de': expected 'abc', got 'abcdef'",
    ),
    "half precision": (
        ModelContract.test_logits_have_the_right_shape_and_type,
        (Logits(lambda logits, _: logits.half()), ONLY),
        "not torch.float16",
    ),
    "logits of the last position only": (
        ModelContract.test_logits_have_the_right_shape_and_type,
        (Logits(lambda logits, _: logits[:, -1:]), ONLY),
        "gave logits",
    ),
    "not a number": (
        ModelContract.test_logits_have_the_right_shape_and_type,
        (Logits(lambda logits, _: logits * torch.nan), ONLY),
        "finite",
    ),
    "looking ahead": (
        ModelContract.test_logits_do_not_look_ahead,
        (Logits(lambda logits, tokens: logits + tokens[:, -1:, None]), ONLY),
        "influences the logits of earlier ones",
    ),
    "rows that mingle": (
        ModelContract.test_rows_of_a_batch_do_not_influence_each_other,
        (Logits(lambda logits, _: logits + logits.sum(dim=0, keepdim=True) / 10), ONLY),
        "row 0 gives other logits alone",
    ),
    "a clock that is not read": (
        ModelContract.test_decode_timing_reads_the_clock_it_is_given,
        (OwnClock(0), {}),
        "must read the clock",
    ),
    "seconds of another clock": (
        ModelContract.test_decode_timing_reads_the_clock_it_is_given,
        (OwnClock(3), {}),
        "prefill_s = 0.01 was not read from the given clock",
    ),
    "costs that ignore the batch": (
        ModelContract.test_costs_are_finite_and_grow_with_the_batch,
        (AlwaysOne(), {}),
        "eight sequences must compute more",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_contract_catches(fault):
    check, (model, arguments), message = FAULTS[fault]
    with pytest.raises(AssertionError, match=message):
        check(ModelContract(), model=model, **arguments)
