"""Embeddings, norms, gated products and draws are the reference's."""

import pytest
import torch

from timetrial_plugins.ops.native.build import build_problem
from timetrial_plugins.ops.native.native_ops import DTYPES, native_kernels
from timetrial_plugins.ops.reference import REFERENCE
from timetrial_plugins.ops.step_ops import NormWeights

VOCABULARIES = [1, 7, 4096, 4097, 12300]


@pytest.mark.parametrize("width", [2048, 3072, 5])
@pytest.mark.parametrize("scales_first", [True, False])
@pytest.mark.parametrize("adds", [True, False])
def test_a_residual_is_added_in_place_and_normed(kernels, draws, assert_close, width, scales_first, adds):
    hidden, added = draws.normal(3, width), draws.normal(3, width) if adds else None
    weights = NormWeights(draws.normal(width), 1e-5, scales_first)
    theirs = hidden.clone()
    assert_close(kernels.add_norm(hidden, added, weights), REFERENCE.add_norm(theirs, added, weights))
    assert torch.equal(hidden, theirs)


@pytest.mark.parametrize("width", [8192, 1024, 5])
def test_a_gated_product_is_the_references(kernels, draws, assert_close, width):
    gate_and_up = draws.normal(2, 2 * width)
    assert_close(kernels.gated_product(gate_and_up), REFERENCE.gated_product(gate_and_up))


def drawn(ops, logits, temperature, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    streams = torch.randint(-(2**63), 2**63 - 1, (len(logits),), generator=generator)
    positions = torch.randint(0, 5000, (len(logits),), generator=generator)
    return ops.draw(logits, streams, positions, temperature)


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize("temperature", [0.0, 0.6, 1.0, 3.0])
def test_draws_are_those_of_the_sampler(kernels, make_draws, vocabulary, temperature):
    logits = make_draws(torch.float32).normal(8, vocabulary, scale=4.0)
    assert torch.equal(drawn(kernels, logits, temperature), drawn(REFERENCE, logits, temperature))


def test_many_draws_are_those_of_the_sampler(kernels, make_draws):
    logits = make_draws(torch.float32).normal(150, 300, scale=2.0)
    found = drawn(kernels, logits, 1.0, seed=1)
    assert torch.equal(found, drawn(REFERENCE, logits, 1.0, seed=1))
    assert len(found.unique()) > 60


def test_of_equally_likely_tokens_greedy_takes_the_lowest(kernels):
    logits = torch.zeros(2, 9000)
    logits[1, [5000, 4100, 8999]] = 1
    assert drawn(kernels, logits, 0.0).tolist() == [0, 4100]


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # of the interpreter's numpy
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_no_numbers_give_no_token(kernels, temperature):
    logits = torch.zeros(5, 5000)
    logits[0, 4500] = torch.nan
    logits[1, 3] = torch.inf
    logits[2] = -torch.inf
    logits[3, :4999] = -torch.inf
    found = drawn(kernels, logits, temperature)
    assert found.tolist() == drawn(REFERENCE, logits, temperature).tolist()
    assert found[:4].tolist() == [-1, -1, -1, 4999] and found[4] >= 0


def test_a_token_without_probability_is_never_drawn(kernels):
    logits = torch.full((30, 4100), -torch.inf)
    logits[:, [17, 4097]] = torch.tensor([0.0, 1.0])
    found = drawn(kernels, logits, 1.0)
    assert set(found.tolist()) == {17, 4097}
    assert torch.equal(found, drawn(REFERENCE, logits, 1.0))


def test_functions_of_one_number_are_pytorchs_wherever_they_are_asked(native):
    """The C kernels have exponentials of their own: compared over all magnitudes, through what uses them."""
    x = torch.cat((torch.linspace(-100, 100, 4001), torch.linspace(-1, 1, 2001) ** 3, torch.tensor([0.0])))
    gated = native.gated_product(torch.cat((x, torch.ones_like(x)))[None])[0]
    torch.testing.assert_close(gated, torch.nn.functional.silu(x.double()).float(), rtol=1e-6, atol=1e-35)
    special = torch.tensor([[torch.nan, torch.inf, -torch.inf, 1.0, 1.0, 1.0]])
    found = native.gated_product(special)[0]
    assert found[0].isnan() and found[1] == torch.inf


def test_draws_are_the_samplers_token_for_token(native):
    """Over vocabularies that end inside and at the end of a tile, flat and sharp, a million random numbers apart."""
    generator = torch.Generator().manual_seed(0)
    for vocabulary, sharpness in [(5, 1.0), (256, 0.1), (583, 2.0), (5000, 4.0)]:
        logits = torch.randn(64, vocabulary, generator=generator) * sharpness
        logits[::5, vocabulary // 2 :] = -torch.inf
        streams = torch.randint(2**62, (64,), generator=generator)
        for position in range(20):
            positions = torch.full((64,), 50_000 * position)
            for temperature in (0.0, 0.7, 1.0):
                expected = REFERENCE.draw(logits, streams, positions, temperature)
                assert torch.equal(native.draw(logits, streams, positions, temperature), expected)


@pytest.mark.skipif(build_problem() is not None, reason=str(build_problem()))
def test_native_counts_are_of_the_rows_in_use():
    counters, active = torch.arange(40).view(4, 10), torch.tensor([1, 0, 1, 1])
    expected = counters.clone()
    REFERENCE.count(expected[:3, 2:6], active)
    native_kernels(torch.float32).count(counters[:3, 2:6], active)
    assert torch.equal(counters, expected)


@pytest.mark.skipif(build_problem() is not None, reason=str(build_problem()))
@pytest.mark.parametrize("dtype", DTYPES)
def test_native_embeddings_are_those_of_the_table_and_no_token_does_no_harm(dtype):
    table, tokens = torch.randn(11, 6).to(dtype), torch.tensor([10, 0, 3, -1, 3])
    found = native_kernels(dtype).embed(tokens, table)
    assert torch.equal(found, REFERENCE.embed(tokens, table)) and torch.equal(found[:3], table[tokens[:3]])
    place = torch.zeros(5, 9, dtype=dtype)
    native_kernels(dtype).embed(tokens, table, place[:, :6])
    assert torch.equal(place[:, :6], found) and not place[:, 6:].any()
