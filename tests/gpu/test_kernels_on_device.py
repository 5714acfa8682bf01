"""Every kernel gives on a device what the reference gives there, in the shapes of the published models."""

import pytest
import torch

from timetrial_plugins.ops.reference import REFERENCE, fold
from timetrial_plugins.ops.step_ops import Memory, ReplayMemory
from timetrial_plugins.ops.trials import LLAMAS, Trials, TrialSizes

pytestmark = pytest.mark.gpu

OPERATIONS = [
    "llamba", "llamba_replay", "mamba1", "mamba2", "rotate_and_store", "attend", "attend shared", "add_norm",
    "gated_product",
]  # fmt: skip
TOLERANCES = {torch.float32: {"rtol": 2e-4, "atol": 2e-4}, torch.bfloat16: {"rtol": 2.0**-6, "atol": 2.0**-5}}


def arguments_of(operation, rows, shape, device, dtype):
    sizes = TrialSizes(rows=rows, **LLAMAS[shape], slots=300, prompt_tokens=130, vocabulary=1000)
    return Trials(sizes, device, dtype).all()[operation]


def tensors_in(value):
    if isinstance(value, torch.Tensor):
        return [value]
    return [tensor for part in value for tensor in tensors_in(part)] if isinstance(value, tuple) else []


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("shape", LLAMAS)
@pytest.mark.parametrize("rows", [1, 5, 64])
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_a_kernel_computes_and_writes_what_the_reference_does(kernels, device, operation, shape, rows, dtype):
    name = operation.partition(" ")[0]
    ours, theirs = (arguments_of(operation, rows, shape, device, dtype) for _ in range(2))
    for _ in range(3):
        found, expected = getattr(kernels, name)(*ours), getattr(REFERENCE, name)(*theirs)
        torch.testing.assert_close(found, expected, **TOLERANCES[dtype])
    for written, reference in zip(tensors_in(ours), tensors_in(theirs), strict=True):
        torch.testing.assert_close(written, reference, **TOLERANCES[dtype])


@pytest.mark.parametrize("temperature", [0.0, 0.8, 1.0])
@pytest.mark.parametrize("vocabulary", [1000, 128256])
def test_draws_are_those_of_the_sampler(kernels, device, temperature, vocabulary):
    """Some of a thousand may differ: where a random number lies on the border between two tokens up to rounding."""
    generator = torch.Generator(device).manual_seed(0)
    logits = 3 * torch.randn(1000, vocabulary, generator=generator, device=device)
    streams = torch.arange(1000, device=device) * 7919
    found, expected = (ops.draw(logits, streams, streams % 100, temperature) for ops in (kernels, REFERENCE))
    assert (found != expected).sum() <= (0 if temperature == 0 else 5)


@pytest.mark.parametrize("shape", LLAMAS)
def test_a_replayed_llamba_is_one_that_writes_its_state_at_once(kernels, device, shape):
    """Over two cycles, in rows that are at different stages."""
    _, weights, memory, fill = arguments_of("llamba_replay", 20, shape, device, torch.float32)
    plain = Memory(memory.window.clone(), fold(memory, fill))
    generator = torch.Generator(device).manual_seed(1)
    width = weights.convolution.taps.shape[0] + weights.gate_bias.numel() + weights.skip.numel()
    for _ in range(2 * memory.x.shape[2]):
        projected = torch.randn(20, width, generator=generator, device=device)
        found = kernels.llamba_replay(projected, weights, ReplayMemory(*memory), fill)
        torch.testing.assert_close(found, kernels.llamba(projected, weights, plain), rtol=1e-3, atol=1e-3)
        fill = (fill + 1) % memory.x.shape[2]


def test_a_step_is_the_same_to_the_bit_when_it_is_done_again(kernels, device):
    """Threads that read what others write would show up as results that change from run to run."""
    for operation in ("llamba", "llamba_replay", "mamba1", "mamba2", "rotate_and_store"):
        runs = [arguments_of(operation, 64, "3b", device, torch.bfloat16) for _ in range(5)]
        results = [getattr(kernels, operation)(*arguments) for arguments in runs]
        for result, arguments in zip(results[1:], runs[1:], strict=True):
            assert torch.equal(result, results[0])
            for written, first in zip(tensors_in(arguments), tensors_in(runs[0]), strict=True):
                assert torch.equal(written, first)
