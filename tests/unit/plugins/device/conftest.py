"""Tiny models of every family, their draws by whole sequences, and a recorder for the CPU that replays operations."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from timetrial.protocol import Sampling
from timetrial_plugins.device.batch import DeviceBatch
from timetrial_plugins.device.recipe import recipe_of, replay_recipe
from timetrial_plugins.device.steps import DeviceSteps
from timetrial_plugins.engine.sampler import Sampler
from timetrial_plugins.models.families import BUILDERS
from timetrial_plugins.models.interface import CausalModule
from timetrial_plugins.ops.activation import ActiveOps
from timetrial_plugins.ops.native.build import build_problem
from timetrial_plugins.ops.native.native_ops import native_kernels
from timetrial_plugins.ops.reference import REFERENCE
from timetrial_plugins.ops.step_ops import StepOps

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 37,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}
MAMBA1 = {"ssm_cfg": {"expand": 1, "d_state": 8}, "d_xb": 16, "attn_layers": [1], "intermediate_size": 40}
MAMBA2 = MAMBA1 | {"ssm_cfg": {"expand": 1, "ngroups": 4, "d_state": 8}, "d_inner": 32}
LLAMBA: dict[str, Any] = {
    "vocab_size": 37,
    "pad_vocab_size_multiple": 8,
    "d_model": 32,
    "n_layer": 2,
    "tie_embeddings": True,
    "mlp_cfg": {"intermediate_size": 40},
    "ssm_cfg": {"d_state": 8, "n_v_heads": 4, "n_qk_heads": 2},
}
SHAPES = {
    "llama": ("llama", LLAMA | {"attention_bias": True}),
    "llama, tied": ("llama", LLAMA | {"tie_word_embeddings": True}),
    "llamba": ("llamba", LLAMBA),
    "hybrid with mamba-1": ("mamba_in_llama", LLAMA | {"mamba_config": MAMBA1}),
    "hybrid with mamba-2": ("mamba_in_llama", LLAMA | {"mamba_config": MAMBA2}),
}


PLAIN = Sampling(temperature=1.0)
PROMPTS = ([5, 9, 2, 4, 17, 8, 30], [1, 2, 3], [36, 0, 7, 7, 21], [index * 5 % 37 for index in range(126)])


@pytest.fixture(params=SHAPES)
def module(request: pytest.FixtureRequest) -> CausalModule[Any]:  # Any: each family's own state
    return build(request.param)


@pytest.fixture
def build_shape() -> Callable[[str], CausalModule[Any]]:
    """Return a function that builds the module of a shape."""
    return build


def build(shape: str) -> CausalModule[Any]:
    family, config = SHAPES[shape]
    made: Any = BUILDERS[family](config)
    made.initialise(torch.Generator().manual_seed(0), std=0.4)
    assert isinstance(made, CausalModule)
    return made.eval()


@pytest.fixture(params=[pytest.param("triton", marks=pytest.mark.slow), "native", "reference"])
def ops(request: pytest.FixtureRequest) -> StepOps:
    return REFERENCE if request.param == "reference" else request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def native() -> StepOps:
    """The operations in C."""
    if (problem := build_problem()) is not None:
        pytest.skip(problem)
    return native_kernels(torch.float32).ops


@pytest.fixture(scope="session")
def triton() -> StepOps:
    """The Triton operations, on the CPU by Triton's interpreter; they are float32 here."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("Triton is not installed (extra `gpu`, Linux only)")
    if os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip("TRITON_INTERPRET is not 1, so the kernels would need a device")
    from timetrial_plugins.ops.triton_ops import triton_ops

    return triton_ops()


@pytest.fixture
def start() -> Callable[..., DeviceBatch]:
    """Return a function that starts a batch of a module's device steps, which `TraceRecorder` records."""

    def start(
        module: CausalModule[Any],
        ops: StepOps,
        rows: int,
        capacity: int,
        sampling: Sampling = PLAIN,
        *,
        shares_prompts: bool = False,
        state_interval: int = 1,
    ) -> DeviceBatch:
        active = ActiveOps(ops=opaque(ops), default="triton", measurements=())
        module.fuse()
        recipe = recipe_of(module) if state_interval == 1 else replay_recipe(module, state_interval)
        assert recipe is not None
        steps = DeviceSteps(module, recipe, active, TraceRecorder)
        return steps.start(Sampler(sampling), rows, capacity, shares_prompts=shares_prompts)

    return start


@pytest.fixture
def prompts() -> Sequence[Sequence[int]]:
    return PROMPTS


@pytest.fixture
def company(
    module: CausalModule[Any], start: Callable[..., DeviceBatch], expected: Callable[..., list[int]]
) -> Iterator[Callable[..., Company]]:
    """Return a function that starts a batch; in the end all of its rows must have drawn what whole sequences say."""
    made: list[Company] = []

    def begin(ops: StepOps, rows: int, capacity: int, **options: Any) -> Company:
        made.append(Company(start(module, ops, rows, capacity, **options)))
        return made[-1]

    yield begin
    for one in made:
        assert one.batch._runner.problem is None and one.batch._runner.recorded and one.drawn
        for (prompt, stream), tokens in one.drawn.items():
            assert tokens == expected(module, PROMPTS[prompt], stream, len(tokens)), (prompt, stream)


@pytest.fixture
def expected() -> Callable[..., list[int]]:
    """Return a function that draws from the logits of the whole sequence, read anew for every token."""

    def expected(
        module: CausalModule[Any],
        prompt: Sequence[int],
        stream: int,
        count: int,
        sampling: Sampling = PLAIN,
    ) -> list[int]:
        tokens, sampler = list(prompt), Sampler(sampling)
        with torch.no_grad():
            for position in range(count):
                logits = module.logits(torch.tensor([tokens]))[:, -1]
                tokens.append(int(sampler.draw(logits, torch.tensor([stream]), torch.tensor([position]))))
        return tokens[len(prompt) :]

    return expected


class Company:
    """Rows of a batch by prompt and stream, and what each drew."""

    def __init__(self, batch: DeviceBatch) -> None:
        self.batch = batch
        self.rows: list[tuple[int, int]] = []
        self.drawn: dict[tuple[int, int], list[int]] = {}

    def admit(self, prompt: int, *streams: int) -> None:
        rows = self.batch.admit(self.batch.prefill(PROMPTS[prompt]), streams)
        for row, stream in zip(rows, streams, strict=True):
            self.rows[row : row + 1] = [(prompt, stream)]

    def advance(self, steps: int) -> None:
        for _ in range(steps):
            for row, token in zip(self.rows, self.batch.advance().tolist(), strict=True):
                self.drawn.setdefault(row, []).append(token)

    def drop(self, *indices: int, num_next: int = 0) -> None:
        for move in self.batch.drop(indices, num_next=num_next):
            self.rows[move.target] = self.rows[move.source]
        del self.rows[self.batch.size :]


class TraceRecorder:
    """Records the operations of a step with their tensors, and replays those: what the host computed stays as it was.

    Like a device it refuses what waits for the host, and leaves no trace of the recording itself.
    """

    def warm_up(self, work: Callable[[], None]) -> None:
        work()

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        trace = Trace()
        with trace:
            work()
        trace.undo()
        return trace.replay


class Trace(TorchDispatchMode):
    """The operations on tensors, in order, and what the tensors held before."""

    refused = ("_local_scalar_dense", "nonzero", "masked_select", "lift_fresh", "equal", "unique")
    current: Trace | None = None

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[tuple[Callable[..., Any], Any, Any, list[torch.Tensor]]] = []
        self.before: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}

    def __enter__(self) -> Any:
        Trace.current = self
        return super().__enter__()

    def __exit__(self, *reason: Any) -> None:
        Trace.current = None
        super().__exit__(*reason)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(name in str(function) for name in self.refused):
            raise RuntimeError(f"{function} is not permitted while a stream is recorded")
        return self.note(function, args, kwargs or {})

    def note(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        for tensor in tensors_in((args, kwargs)):
            storage = tensor.untyped_storage()
            self.before.setdefault(storage.data_ptr(), (storage, storage.clone()))
        result = function(*args, **kwargs)
        self.entries.append((function, args, kwargs, tensors_in(result)))
        return result

    def undo(self) -> None:
        for storage, content in self.before.values():
            storage.copy_(content)

    def replay(self) -> None:
        for function, args, kwargs, results in self.entries:
            for found, kept in zip(tensors_in(function(*args, **kwargs)), results, strict=True):
                if found.data_ptr() != kept.data_ptr():
                    kept.copy_(found)


def tensors_in(value: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_flatten(value)[0] if isinstance(leaf, torch.Tensor)]


def opaque(ops: StepOps) -> StepOps:
    """Operations that are one entry of a trace each, as a kernel is one node of a graph."""
    return replace(ops, **{field.name: as_entry(getattr(ops, field.name)) for field in fields(ops)})


def as_entry(operation: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        if (trace := Trace.current) is None:
            return operation(*args, **kwargs)
        from torch.utils._python_dispatch import _disable_current_modes

        with _disable_current_modes():
            return trace.note(operation, args, kwargs)

    return call


@pytest.fixture(autouse=True)
def no_trace_is_left() -> Iterator[None]:
    yield
    assert Trace.current is None
