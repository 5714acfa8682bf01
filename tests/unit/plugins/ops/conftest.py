"""Random inputs of the operations of a decode step, in the shapes of the published models with fewer heads and rows."""

import importlib.util
import os
from dataclasses import fields, replace
from functools import partial, partialmethod

import numpy as np
import pytest
import torch

from timetrial_plugins.ops.native.build import build_problem
from timetrial_plugins.ops.native.native_ops import DTYPES, native_kernels
from timetrial_plugins.ops.reference import REFERENCE
from timetrial_plugins.ops.step_ops import Convolution, LlambaWeights, Mamba1Weights, Mamba2Weights, Memory


@pytest.fixture(scope="session", params=["triton", "native"])
def kernels(request):
    """The Triton operations, and those in C."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def native():
    """The operations in C; recurrences get memory laid out as they want it."""
    if (problem := build_problem()) is not None:
        pytest.skip(problem)
    of_type = {dtype: native_kernels(dtype).ops for dtype in DTYPES}
    ops = replace(REFERENCE, **{field.name: for_its_type(of_type, field.name) for field in fields(REFERENCE)})
    return replace(ops, **{name: laid_out(getattr(ops, name)) for name in ("llamba", "mamba1", "mamba2")})


def for_its_type(of_type, name):
    """The operation of that name that was built for the type of the first argument."""
    return lambda first, *others, **options: getattr(of_type[first.dtype], name)(first, *others, **options)


def laid_out(step):
    """The step on a memory whose channels lie side by side, copied from one that lies anyhow, and back."""

    def call(*arguments, out=None):
        *inputs, memory = [*arguments, out][: len(arguments)] if isinstance(arguments[-1], Memory) else arguments[:-1]
        out = out if isinstance(arguments[-1], Memory) else arguments[-1]
        held = Memory(*map(across, memory))
        result = step(*inputs, held, out)
        for part, changed in zip(memory, held, strict=True):
            part.copy_(changed)
        return result

    return call


@pytest.fixture(scope="session")
def triton():
    """The Triton operations, on the CPU by Triton's interpreter, which is made to treat bfloat16 as devices do."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("Triton is not installed (extra `gpu`, Linux only)")
    if os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip("TRITON_INTERPRET is not 1, so the kernels would need a device")
    from triton.runtime import interpreter

    from timetrial_plugins.ops.triton_ops import triton_ops

    with pytest.MonkeyPatch.context() as patch:
        builder = interpreter.InterpreterBuilder
        patch.setattr(interpreter, "_convert_float", partial(rounded, interpreter._convert_float))
        patch.setattr(builder, "create_dot", partialmethod(multiplied, builder.create_dot))
        yield triton_ops()


def rounded(convert, data, source, target, mode):
    """Convert float32 to bfloat16 to nearest, where the interpreter cuts off; everything else as `convert` does."""
    if (str(source), str(target)) != ("fp32", "bf16"):
        return convert(data, source, target, mode)
    return torch.from_numpy(np.array(data)).bfloat16().view(torch.uint16).numpy()


def multiplied(builder, dot, left, right, *others):
    """Multiply matrices of bfloat16 as the numbers they are; the interpreter multiplies their bits as integers."""
    import triton.language as tl

    left, right = (builder.cast_impl(part, tl.float32) if str(part.dtype) == "bf16" else part for part in (left, right))
    return dot(builder, left, right, *others)


@pytest.fixture
def assert_close():
    """Compare two results: tightly in float32, and in half formats up to `units` of the last place."""

    def check(found, expected, *, units=1):
        assert found.dtype == expected.dtype
        if found.dtype == torch.float32:
            torch.testing.assert_close(found, expected, rtol=2e-5, atol=5e-6)
        else:
            unit = torch.finfo(found.dtype).eps
            torch.testing.assert_close(found, expected, rtol=units * unit, atol=units * unit / 16)

    return check


class Draws:
    """Random tensors from one seed; weights and activations of one type."""

    def __init__(self, dtype, seed=0):
        self.dtype = dtype
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape, dtype=None, scale=1.0):
        drawn = torch.randn(shape, generator=self.generator) * scale
        return drawn.to(dtype or self.dtype)

    def memory(self, rows, channels, state_shape, state_dtype=torch.float32, *, taps=4, lies_across=False):
        """A memory with a row's last axis contiguous, or laid out as the models' buffers, with the channels so."""
        window = self.normal(rows, channels, taps - 1)
        state = self.normal(rows, *state_shape, dtype=state_dtype, scale=0.5)
        return Memory(across(window), across(state)) if lies_across else Memory(window, state)

    def convolution(self, channels, taps=4, *, bias=True):
        return Convolution(self.normal(channels, taps, scale=0.5), self.normal(channels) if bias else None)

    def llamba(self, heads, groups, width, size, *, bias=True, gate_bias=True):
        channels = heads * width + 2 * groups * size
        return LlambaWeights(
            self.convolution(channels, bias=bias),
            self.normal(heads),
            self.normal(heads * width) if gate_bias else None,
        )

    def mamba1(self, heads, repeat, width=16, size=16):
        return Mamba1Weights(
            self.convolution(heads * width),
            -self.normal(heads, width, size, dtype=torch.float32).exp(),
            self.normal(heads * width, dtype=torch.float32),
            self.normal(heads * width),
            repeat,
        )

    def mamba2(self, heads, repeat, width, size):
        shared = heads // repeat
        return Mamba2Weights(
            self.convolution(shared * (width + size) + heads * size),
            -self.normal(heads, dtype=torch.float32).exp(),
            self.normal(heads, dtype=torch.float32),
            self.normal(heads),
            self.normal(heads * width),
            1e-5,
        )


def across(tensor):
    """The same values with the last two axes the other way round in memory."""
    return tensor.mT.contiguous().mT


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def draws(request):
    return Draws(request.param)


@pytest.fixture
def make_draws():
    """Make random inputs of a type."""
    return Draws
