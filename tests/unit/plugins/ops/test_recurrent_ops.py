"""The fused recurrent steps do what the reference does, in place, over several tokens."""

import pytest
import torch

from timetrial_plugins.ops.reference import REFERENCE, fold
from timetrial_plugins.ops.step_ops import Memory, ReplayMemory

ROWS, STEPS = 2, 2
# heads, groups, P, N: Llamba-1B and -4B in fewer heads, shared groups, and sizes that are no powers of two
LLAMBAS = [(2, 2, 64, 64), (2, 2, 128, 128), (4, 2, 64, 16), (4, 2, 24, 20), (1, 1, 5, 3)]
# heads, repeat, P, N: MambaInLlama-1B and -3B in fewer heads, more channels than a program has, odd sizes
MAMBA1S = [(8, 4, 16, 16), (9, 3, 16, 16), (3, 1, 5, 5)]
# heads, repeat, P, N: the Mamba-2 hybrids of 1B and 3B in fewer heads, odd sizes
MAMBA2S = [(4, 4, 64, 64), (3, 3, 128, 128), (4, 2, 24, 24), (2, 1, 5, 5)]

# What is summed up in another order differs more, and in bfloat16 a result is rounded thrice.
LOOSE = {torch.float32: {"rtol": 1e-4, "atol": 1e-4}, torch.bfloat16: {"rtol": 2.0**-6, "atol": 2.0**-6}}


def copies(memory):
    """Equal memories, laid out alike."""
    return type(memory)(*(tensor.clone(memory_format=torch.preserve_format) for tensor in memory))


def check_steps(step, reference, tokens, memory, assert_close):
    """Both implementations read the tokens from equal memories, and all that they write stays equal."""
    theirs = copies(memory)
    for inputs in tokens:
        before = [tensor.clone() for tensor in inputs]
        assert_close(step(*inputs, memory), reference(*inputs, theirs))
        assert torch.equal(memory.window, theirs.window)
        assert_close(memory.state, theirs.state)
        assert all(map(torch.equal, inputs, before)), "a step writes over what it reads"


@pytest.mark.parametrize(
    ("shape", "state_dtype", "steps"),
    # A state in bfloat16 is rounded after every step, which makes much of little differences.
    [*((shape, torch.float32, STEPS) for shape in LLAMBAS), (LLAMBAS[0], torch.bfloat16, 1)],
    ids=str,
)
def test_a_llamba_step_is_the_references(request, kernels, draws, assert_close, shape, state_dtype, steps):
    if state_dtype != torch.float32 and "native" in request.node.callspec.params.values():
        pytest.skip("the operations in C keep states in float32")
    heads, groups, width, size = shape
    weights = draws.llamba(*shape)
    channels = weights.convolution.taps.shape[0]
    tokens = [(draws.normal(ROWS, channels + heads * width + heads),) for _ in range(steps)]
    memory = draws.memory(ROWS, channels, (heads, width, size), state_dtype, lies_across=groups == 2)
    check_steps(
        lambda x, memory: kernels.llamba(x, weights, memory),
        lambda x, memory: REFERENCE.llamba(x, weights, memory),
        tokens,
        memory,
        assert_close,
    )


@pytest.mark.parametrize("shape", MAMBA1S, ids=str)
def test_a_mamba1_step_is_the_references(kernels, draws, assert_close, shape):
    heads, repeat, width, size = shape
    weights = draws.mamba1(*shape)
    inner = heads * width
    tokens = [
        (draws.normal(ROWS, 2 * inner + inner // repeat + heads // repeat * size + 6), draws.normal(ROWS, inner))
        for _ in range(STEPS)
    ]
    check_steps(
        lambda x, delta, memory: kernels.mamba1(x, delta, weights, memory),
        lambda x, delta, memory: REFERENCE.mamba1(x, delta, weights, memory),
        tokens,
        draws.memory(ROWS, inner, (heads, width, size), lies_across=repeat == 3),
        assert_close,
    )


@pytest.mark.parametrize("shape", MAMBA2S, ids=str)
def test_a_mamba2_step_is_the_references(kernels, draws, assert_close, shape):
    heads, repeat, width, size = shape
    weights = draws.mamba2(*shape)
    channels = weights.convolution.taps.shape[0]
    tokens = [(draws.normal(ROWS, heads * width + channels + heads),) for _ in range(STEPS)]
    check_steps(
        lambda x, memory: kernels.mamba2(x, weights, memory),
        lambda x, memory: REFERENCE.mamba2(x, weights, memory),
        tokens,
        draws.memory(ROWS, channels, (heads, width, size), lies_across=repeat == 4),
        assert_close,
    )


@pytest.mark.parametrize("bias", [True, False])
def test_the_biases_of_a_llamba_may_be_absent(kernels, draws, assert_close, bias):
    weights = draws.llamba(2, 2, 16, 16, bias=bias, gate_bias=not bias)
    check_steps(
        lambda x, memory: kernels.llamba(x, weights, memory),
        lambda x, memory: REFERENCE.llamba(x, weights, memory),
        [(draws.normal(ROWS, 96 + 32 + 2),)],
        draws.memory(ROWS, 96, (2, 16, 16)),
        assert_close,
    )


@pytest.mark.parametrize("value", [-120.0, -104.0, -20.0, -1e-3, 0.0, 1e-3, 20.0, 120.0])
def test_a_llamba_decays_by_the_sigmoid_wherever_its_argument_lies(kernels, make_draws, value):
    draws = make_draws(torch.float32)
    weights = draws.llamba(1, 1, 4, 4)
    memory = draws.memory(1, 12, (1, 4, 4))
    memory.window.zero_()
    weights.convolution.bias.zero_()
    before = memory.state.clone()
    projected = torch.zeros(1, 12 + 4 + 1)
    projected[:, -1] = value
    kernels.llamba(projected, weights, memory)
    expected = before.double() * torch.sigmoid(torch.tensor(-value, dtype=torch.float64))
    torch.testing.assert_close(memory.state, expected.float(), rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize(
    ("shape", "kept", "dtype"),
    [
        ((1, 1, 64, 64), 1, torch.float32),
        ((1, 1, 128, 128), 4, torch.bfloat16),
        ((4, 2, 12, 20), 4, torch.float32),
        ((1, 1, 8, 20), 16, torch.float32),
    ],
    ids=str,
)
def test_a_replayed_llamba_is_one_that_writes_its_state_at_once(kernels, make_draws, shape, kept, dtype):
    """Rows join at different times, so that their states are written at different steps; L = 1 writes at every one."""
    draws = make_draws(dtype)
    heads, groups, width, size = shape
    weights = draws.llamba(*shape)
    channels = weights.convolution.taps.shape[0]
    memory = draws.memory(ROWS, channels, (heads, width, size), lies_across=kept == 4)
    fill = torch.tensor([0, kept // 2])
    ours, theirs = (replay_of(copies(memory), weights, fill, groups, kept, make_draws(dtype)) for _ in range(2))
    steps = [(kernels.llamba_replay, ours), (REFERENCE.llamba_replay, theirs)]
    plain = Memory(ours.window.clone(), fold(ours, fill))
    for _ in range(kept + 2):
        projected = draws.normal(ROWS, channels + heads * width + heads)
        expected = REFERENCE.llamba(projected, weights, plain)
        for found in (step(projected, weights, memory, fill) for step, memory in steps):
            torch.testing.assert_close(found, expected, **LOOSE[dtype])
        fill = (fill + 1) % kept
        for _, memory in steps:
            torch.testing.assert_close(fold(memory, fill), plain.state, rtol=1e-4, atol=1e-4)
        assert torch.equal(ours.window, plain.window)


def test_a_replayed_llamba_writes_its_state_in_every_lth_step_only(kernels, make_draws):
    draws = make_draws(torch.float32)
    weights = draws.llamba(2, 1, 8, 4)
    memory = replay_of(draws.memory(1, 24, (2, 8, 4)), weights, torch.tensor([0]), 1, 4, draws)
    written = []
    for step in range(12):
        before = memory.state.clone()
        kernels.llamba_replay(draws.normal(1, 24 + 16 + 2), weights, memory, torch.tensor([step % 4]))
        written.append(not torch.equal(memory.state, before))
    assert written == [False, False, False, True] * 3


def test_results_go_where_they_are_asked_for(kernels, make_draws):
    draws = make_draws(torch.float32)
    weights = draws.llamba(2, 2, 8, 8)
    memory = draws.memory(ROWS, 48, (2, 8, 8))
    projected = draws.normal(ROWS, 48 + 16 + 2)
    expected = REFERENCE.llamba(projected, weights, copies(memory))
    buffer = torch.zeros(ROWS, 20)
    for ops in (kernels, REFERENCE):
        given = ops.llamba(projected, weights, copies(memory), buffer[:, :16])
        assert given.data_ptr() == buffer.data_ptr()
        torch.testing.assert_close(buffer[:, :16], expected)
        assert not buffer[:, 16:].any()


def test_rows_do_not_see_each_other_and_may_lie_apart(kernels, draws):
    """Rows of the models' buffers are strided; a row's result is the same, to the bit, alone and among others."""
    weights = draws.llamba(2, 2, 16, 16)
    memory, projected = draws.memory(3, 96, (2, 16, 16)), draws.normal(3, 96 + 32 + 2)
    alone = [
        kernels.llamba(projected[row : row + 1], weights, Memory(*(part[row : row + 1].clone() for part in memory)))
        for row in range(3)
    ]
    spread = Memory(*(torch.stack((part, part), dim=1)[:, 0] for part in memory))
    assert not spread.state.is_contiguous()
    assert torch.equal(kernels.llamba(projected, weights, spread), torch.cat(alone))


def replay_of(memory, weights, fill, groups, kept, draws):
    """A replay memory with `fill` inputs of random values kept, and what is not a number in the free places."""
    rows, heads, width, size = memory.state.shape
    x, b = draws.normal(rows, heads, kept, width), draws.normal(rows, groups, kept, size)
    log_decay = -draws.normal(rows, heads, kept, dtype=torch.float32).abs().cumsum(dim=2) / 4
    is_free = torch.arange(kept) >= fill[:, None]
    for tensor in (x, b):
        tensor.masked_fill_(is_free[:, None, :, None], torch.nan)
    log_decay.masked_fill_(is_free[:, None], torch.nan)
    return ReplayMemory(memory.window, memory.state, x, b, log_decay)
