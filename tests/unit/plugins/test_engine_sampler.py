"""Sampling: random numbers that are a function of their names, and draws from the right distribution.

Shapes: B batch, V vocabulary.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from timetrial.error import UsageError
from timetrial.protocol import Sampling
from timetrial_plugins.engine.sampler import Sampler, stream_seed, uniforms

MASK = (1 << 64) - 1


def splitmix64(seed: int, position: int) -> int:
    """SplitMix64 on Python's unbounded integers."""
    z = (seed + (position + 1) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def kept_probabilities(logits: np.ndarray, temperature: float, top_p: float, top_k: int) -> np.ndarray:
    """The distribution of one row, by the definitions."""
    scaled = logits.astype(np.float64) / temperature
    probabilities = np.exp(scaled - scaled.max())
    probabilities /= probabilities.sum()
    order = sorted(range(len(logits)), key=lambda token: (-probabilities[token], token))
    if top_k != -1:
        order = order[:top_k]
    total, kept, reached = probabilities[order].sum(), [], 0.0
    for token in order:
        if top_p < 1 and reached >= top_p * total:
            break
        kept.append(token)
        reached += probabilities[token]
    result = np.zeros_like(probabilities)
    result[kept] = probabilities[kept] / probabilities[kept].sum()
    return result


def random_logits(batch: int, vocabulary: int) -> torch.Tensor:
    return 3 * torch.randn(batch, vocabulary, generator=torch.Generator().manual_seed(0))


def draw(sampling: Sampling, logits: torch.Tensor, first_stream: int = 0) -> torch.Tensor:
    streams = torch.tensor([stream_seed(0, "p", first_stream + row) for row in range(len(logits))])
    return Sampler(sampling).draw(logits, streams, torch.zeros(len(logits), dtype=torch.int64))


def test_the_reference_gives_the_published_outputs() -> None:
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert [splitmix64(1234567, position) for position in range(4)] == published


def test_uniforms_are_those_of_the_reference_on_any_seed_and_position() -> None:
    seeds = [0, 1, -1, 2**63 - 1, -(2**63), *(stream_seed(7, f"p{i}", i) for i in range(50))]
    positions = [0, 1, 2047, *range(3, 55)][: len(seeds)]
    got = uniforms(torch.tensor(seeds), torch.tensor(positions))
    expected = [
        (splitmix64(seed & MASK, position) >> 11) / 2**53 for seed, position in zip(seeds, positions, strict=True)
    ]
    assert got.dtype == torch.float64 and got.tolist() == expected
    assert 0 <= min(expected) and max(expected) < 1


def test_a_stream_is_named_by_seed_problem_and_sample() -> None:
    expected = int.from_bytes(hashlib.sha256(b"3\n12\nalgebra/7").digest()[:8], "big", signed=True)
    assert stream_seed(3, "algebra/7", 12) == expected
    names = [
        (seed, problem, sample) for seed in range(3) for problem in ("1", "11", "caf\u00e9") for sample in range(30)
    ]
    assert len({stream_seed(*name) for name in names}) == len(names)


def test_uniforms_of_neighbouring_streams_and_positions_look_independent() -> None:
    streams = torch.tensor([stream_seed(0, "p", sample) for sample in range(400)])
    table = uniforms(streams[:, None], torch.arange(100)[None]).numpy()  # (400, 100)
    assert abs(table.mean() - 0.5) < 0.01 and abs(table.var() - 1 / 12) < 0.005
    assert abs(np.corrcoef(table[:-1].ravel(), table[1:].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(table[:, :-1].ravel(), table[:, 1:].ravel())[0, 1]) < 0.02


@pytest.mark.parametrize("temperature", [0.3, 1.0])
@pytest.mark.parametrize("top_p", [1.0, 0.9, 0.01])
@pytest.mark.parametrize("top_k", [-1, 1, 5, 1000])
def test_what_is_kept_is_what_the_definitions_keep(temperature: float, top_p: float, top_k: int) -> None:
    logits = random_logits(20, 50)
    kept = Sampler(Sampling(temperature=temperature, top_p=top_p, top_k=top_k)).probabilities(logits)
    kept = kept / kept.sum(dim=-1, keepdim=True)
    expected = np.stack([kept_probabilities(row, temperature, top_p, top_k) for row in logits.numpy()])
    assert np.abs(kept.numpy() - expected).max() < 1e-5


def test_among_equally_likely_tokens_exactly_top_k_are_kept_lowest_first() -> None:
    logits = torch.tensor([[1.0, 2.0, 2.0, 2.0, 0.0]])
    kept = Sampler(Sampling(temperature=1.0, top_k=2)).probabilities(logits)
    assert (kept[0] > 0).tolist() == [False, True, True, False, False]


@pytest.mark.parametrize(("top_p", "top_k"), [(1.0, -1), (0.8, -1), (1.0, 4), (0.7, 6)])
def test_draws_follow_the_distribution(top_p: float, top_k: int) -> None:
    num_draws = 20_000
    logits = random_logits(1, 12)
    sampling = Sampling(temperature=0.8, top_p=top_p, top_k=top_k)
    tokens = draw(sampling, logits.expand(num_draws, -1))
    expected = kept_probabilities(logits[0].numpy(), 0.8, top_p, top_k)
    frequencies = np.bincount(tokens.numpy(), minlength=12) / num_draws
    assert not frequencies[expected == 0].any(), "an excluded token was drawn"
    assert (np.abs(frequencies - expected) < 5 * np.sqrt(expected * (1 - expected) / num_draws) + 1e-12).all()


def test_the_token_is_the_first_whose_cumulative_probability_exceeds_the_uniform_number() -> None:
    logits = random_logits(300, 40)
    streams = torch.tensor([stream_seed(5, "q", sample) for sample in range(300)])
    positions = torch.arange(300)
    tokens = Sampler(Sampling(temperature=1.0)).draw(logits, streams, positions)
    for row in range(300):
        probabilities = kept_probabilities(logits[row].numpy(), 1.0, 1.0, -1)
        u = (splitmix64(int(streams[row]) & MASK, row) >> 11) / 2**53
        assert int(tokens[row]) == int(np.searchsorted(np.cumsum(probabilities), u, side="right"))


def test_a_draw_does_not_depend_on_its_row_or_its_company() -> None:
    logits, sampling = random_logits(64, 30), Sampling(temperature=1.0, top_p=0.95)
    together = draw(sampling, logits)
    alone = torch.cat([draw(sampling, logits[row : row + 1], first_stream=row) for row in range(64)])
    assert torch.equal(together, alone)


def test_temperature_zero_takes_the_best_token_and_the_lowest_of_equals() -> None:
    logits = torch.tensor([[0.0, 3.0, 3.0], [5.0, 1.0, -torch.inf]])
    assert draw(Sampling(temperature=0.0), logits).tolist() == [1, 0]


def test_a_tiny_temperature_is_greedy_too() -> None:
    logits = random_logits(50, 30)
    assert torch.equal(draw(Sampling(temperature=1e-4), logits), draw(Sampling(temperature=0.0), logits))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_rows_whose_logits_are_not_numbers_get_no_token_and_the_others_do(temperature: float, bad: float) -> None:
    logits = random_logits(3, 10)
    logits[1, 4] = bad
    tokens = draw(Sampling(temperature=temperature), logits)
    assert tokens[1] == -1 and tokens[0] >= 0 and tokens[2] >= 0


@pytest.mark.parametrize(("changes", "message"), [
    ({"temperature": -0.1}, "temperature is -0.1"),
    ({"temperature": float("nan")}, "temperature is nan"),
    ({"temperature": float("inf")}, "temperature is inf"),
    ({"top_p": 0.0}, "top_p is 0.0"),
    ({"top_p": 1.5}, "top_p is 1.5"),
    ({"top_k": 0}, "top_k is 0.*-1 for all"),
    ({"top_k": -2}, "top_k is -2"),
    ({"max_tokens": 0}, "max_tokens is 0"),
    ({"stop": ("a", "")}, "stop string is empty"),
])  # fmt: skip
def test_sampling_that_means_nothing_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Sampler(Sampling(**({"temperature": 1.0} | changes)))
