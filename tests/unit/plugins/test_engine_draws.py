"""Every family draws what its whole-sequence logits say, whatever makes the steps fast: the reference knows no step."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from timetrial.protocol import Sampling
from timetrial_plugins.device.steps import begin_native
from timetrial_plugins.engine.batch import Batch, DecodeBatch
from timetrial_plugins.engine.model import EngineModel, LoadedCheckpoint
from timetrial_plugins.engine.sampler import Sampler
from timetrial_plugins.engine.step_plan import StepPlan
from timetrial_plugins.models.attention_state import AttentionState
from timetrial_plugins.models.families import BUILDERS
from timetrial_plugins.models.interface import CausalModule
from timetrial_plugins.models.packed import PackedProduct
from timetrial_plugins.models.tokenizer import ChatTokenizer
from timetrial_plugins.ops.native.build import build_problem

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 61,
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "tie_word_embeddings": True,
}
MAMBA1 = {"ssm_cfg": {"expand": 1, "d_state": 8}, "d_xb": 16, "attn_layers": [1], "intermediate_size": 64}
MAMBA2 = MAMBA1 | {"ssm_cfg": {"expand": 1, "ngroups": 6, "d_state": 8}, "d_inner": 48}
LLAMBA: dict[str, Any] = {
    "vocab_size": 61,
    "d_model": 48,
    "n_layer": 3,
    "tie_embeddings": True,
    "mlp_cfg": {"intermediate_size": 64},
    "ssm_cfg": {"d_state": 8, "n_v_heads": 6, "n_qk_heads": 3},
}
SHAPES = {
    "llama": ("llama", LLAMA),
    "llamba": ("llamba", LLAMBA),
    "hybrid with mamba-1": ("mamba_in_llama", LLAMA | {"mamba_config": MAMBA1}),
    "hybrid with mamba-2": ("mamba_in_llama", LLAMA | {"mamba_config": MAMBA2}),
}
Expected = Callable[[Sequence[int], int], list[int]]
SAMPLING = Sampling(temperature=1.0)
PROMPTS = ([5, 9, 2, 44, 17, 8, 30], [1, 2, 3], [60, 0, 7, 7, 21], [3, 3, 41])
LONG_PROMPT = [(7 * index + 3) % 61 for index in range(120)]
NEW_TOKENS = 20
TOGETHER = 10  # streams whose whole sequences are read side by side


def build(shape: str) -> CausalModule[Any]:  # Any: each family's own state
    family, config = SHAPES[shape]
    made: Any = BUILDERS[family](config)  # Any: not every module can be initialised
    made.initialise(torch.Generator().manual_seed(0), std=0.3)
    assert isinstance(made, CausalModule)
    return made.eval()


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def module(shape: str) -> CausalModule[Any]:
    return build(shape)


@pytest.fixture
def expected(shape: str) -> Expected:
    """Return a function from a prompt and a stream to what whole sequences say is drawn."""

    def expect(prompt: Sequence[int], stream: int) -> list[int]:
        first = stream - stream % TOGETHER
        return whole_sequence_draws(shape, tuple(prompt), first)[stream - first]

    return expect


@pytest.fixture(params=["own", "native"])
def start(request: pytest.FixtureRequest) -> Callable[..., Batch]:
    """Return a function that starts a batch whose steps are the module's own, or made of kernels in C."""

    def start(
        module: CausalModule[Any], rows: int, capacity: int, *, shares_prompts: bool, is_packed: bool = True
    ) -> Batch:
        module.keep()
        if request.param == "own":
            if is_packed:
                module.pack(PackedProduct)
            return DecodeBatch(module, Sampler(SAMPLING), rows, capacity, shares_prompts=shares_prompts)
        steps = begin_native(module, StepPlan(kernels="native", is_recorded=False, reasons=())).steps
        assert steps is not None and steps.products is not None
        if is_packed:
            module.pack(steps.products)
        return steps.start(Sampler(SAMPLING), rows, capacity, shares_prompts=shares_prompts)

    if request.param == "native" and (problem := build_problem()) is not None:
        pytest.skip(problem)
    return start


@functools.cache  # many tests ask for the same
def whole_sequence_draws(shape: str, prompt: tuple[int, ...], first: int) -> list[list[int]]:
    """Draw from the logits of the whole sequence, read anew for every token by a module that nobody has packed.

    Returns what is drawn for the streams `first` to `first + TOGETHER`.
    """
    sampler, module = Sampler(SAMPLING), untouched(shape)
    streams, tokens = torch.arange(first, first + TOGETHER), torch.tensor([prompt] * TOGETHER)
    with torch.no_grad():
        for position in range(NEW_TOKENS):
            drawn = sampler.draw(module.logits(tokens)[:, -1], streams, torch.full_like(streams, position))
            tokens = torch.cat((tokens, drawn[:, None]), dim=1)
    drawn_tokens: list[list[int]] = tokens[:, len(prompt) :].tolist()
    return drawn_tokens


untouched = functools.cache(build)


def decoded(batch: Batch, prompt: Sequence[int], streams: Sequence[int]) -> dict[int, list[int]]:
    batch.admit(batch.prefill(prompt), streams)
    drawn = torch.stack([batch.advance() for _ in range(NEW_TOKENS)], dim=1)
    return dict(zip(streams, drawn.tolist(), strict=True))


@pytest.mark.parametrize("size", [1, 7, 64])
@pytest.mark.parametrize("shares_prompts", [False, True], ids=["own prompts", "shared prompts"])
@pytest.mark.parametrize("is_packed", [False, True], ids=["plain", "packed"])
def test_draws_are_those_of_the_whole_sequence(
    module: CausalModule[Any],
    start: Callable[..., Batch],
    is_packed: bool,
    shares_prompts: bool,
    size: int,
    expected: Expected,
) -> None:
    streams = list(range(100, 100 + size))
    batch = start(module, size, 64, shares_prompts=shares_prompts, is_packed=is_packed)
    completions = decoded(batch, PROMPTS[0], streams)
    for stream in streams[::9]:
        assert completions[stream] == expected(PROMPTS[0], stream)
    assert len({tuple(tokens) for tokens in completions.values()}) == size


def test_rows_of_several_prompts_shared_and_not_leave_and_enter_without_a_trace(
    module: CausalModule[Any], start: Callable[..., Batch], expected: Expected
) -> None:
    batch = start(module, 24, 64, shares_prompts=True)
    rows: list[tuple[int, int]] = []  # prompt and stream
    drawn: dict[tuple[int, int], list[int]] = {}

    def admit(prompt: int, *streams: int) -> None:
        batch.admit(batch.prefill(PROMPTS[prompt]), streams)
        rows.extend((prompt, stream) for stream in streams)

    def advance(steps: int) -> None:
        for _ in range(steps):
            for row, token in zip(rows, batch.advance().tolist(), strict=True):
                drawn.setdefault(row, []).append(token)

    def drop(*indices: int) -> None:
        for move in batch.drop(indices):
            rows[move.target] = rows[move.source]
        del rows[batch.size :]

    admit(0, *range(10))
    advance(3)
    admit(1, *range(20, 30))
    admit(2, 40)
    advance(4)
    drop(0, 4, 12, 20)
    advance(2)
    admit(2, *range(50, 57))
    advance(5)
    drop(*range(1, 17))
    advance(6)
    drop(*range(batch.size))
    admit(1, *range(60, 70))
    advance(3)
    for (prompt, stream), tokens in drawn.items():
        assert tokens == expected(PROMPTS[prompt], stream)[: len(tokens)]
    assert len(drawn) == 38


@pytest.mark.parametrize("shares_prompts", [False, True], ids=["own prompts", "shared prompts"])
def test_rows_that_are_read_in_spans_of_their_lengths_draw_the_same(
    module: CausalModule[Any], shares_prompts: bool, monkeypatch: pytest.MonkeyPatch, expected: Expected
) -> None:
    monkeypatch.setattr("timetrial_plugins.models.attention_state._LEAST_SAVED_BYTES", 1)
    module.pack(PackedProduct)
    batch = DecodeBatch(module, Sampler(SAMPLING), 40, 64, shares_prompts=shares_prompts)
    rows: list[int] = []  # streams
    drawn: dict[int, list[int]] = {}

    def decode(steps: int, *streams: int) -> None:
        if streams:
            batch.admit(batch.prefill(PROMPTS[0]), streams)
            rows.extend(streams)
        for _ in range(steps):
            for row, token in zip(rows, batch.advance().tolist(), strict=True):
                drawn.setdefault(row, []).append(token)

    decode(6, *range(16))
    decode(5, *range(20, 36))
    for move in batch.drop([2, 5, 17]):
        rows[move.target] = rows[move.source]
    del rows[batch.size :]
    decode(7, *range(40, 49))
    if isinstance(batch._state, AttentionState):
        assert len(batch._state.caches()[0].segments) > 1
    for stream, tokens in drawn.items():
        assert tokens == expected(PROMPTS[0], stream)[: len(tokens)]
    assert len(drawn) == 41


@pytest.mark.parametrize("shares_prompts", [False, True], ids=["own prompts", "shared prompts"])
def test_rows_that_grow_past_one_another_leave_no_trace(
    module: CausalModule[Any], start: Callable[..., Batch], shares_prompts: bool, expected: Expected
) -> None:
    batch = start(module, 10, 400, shares_prompts=shares_prompts)
    batch.admit(batch.prefill(PROMPTS[1]), [7])
    batch.admit(batch.prefill(LONG_PROMPT), range(20, 29))
    drawn = torch.stack([batch.advance() for _ in range(NEW_TOKENS)], dim=1).tolist()
    assert drawn[0] == expected(PROMPTS[1], 7) and drawn[9] == expected(LONG_PROMPT, 28)
    for _ in range(130):
        batch.advance()
    if isinstance(batch, DecodeBatch) and isinstance(batch._state, AttentionState):
        assert 128 < batch._state.buffers["keys"].shape[3] <= 400


def test_prompts_of_one_length_are_read_together_as_if_alone(module: CausalModule[Any], expected: Expected) -> None:
    module.keep()
    module.pack(PackedProduct)
    batch = DecodeBatch(module, Sampler(SAMPLING), 20, 64, shares_prompts=True)
    first, second = batch.prefill_together([PROMPTS[1], PROMPTS[3]])
    batch.admit(second, range(10))
    batch.admit(first, range(30, 33))
    drawn = torch.stack([batch.advance() for _ in range(NEW_TOKENS)], dim=1).tolist()
    assert drawn[4] == expected(PROMPTS[3], 4) and drawn[11] == expected(PROMPTS[1], 31)


def test_rows_saved_with_grown_buffers_go_on_where_they_were(module: CausalModule[Any]) -> None:
    batch = DecodeBatch(module, Sampler(SAMPLING), 2, 200)
    batch.admit(batch.prefill(LONG_PROMPT), [1, 2])
    with torch.inference_mode():
        for _ in range(20):
            batch.advance()
        snapshot = batch._state.snapshot()
        restored = module.init_state(3, 210)
        restored.restore(snapshot)
        tokens = torch.tensor([4, 5])
        assert torch.allclose(module.step(tokens, restored), module.step(tokens, batch._state), atol=1e-5)
    assert all(tensor.is_contiguous() for tensor in snapshot.values())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method:DeprecationWarning")  # PyTorch warns of itself
def test_compiled_steps_draw_the_same_and_are_compiled_once_for_all_positions_and_layers() -> None:
    from torch._dynamo.utils import counters

    for shape in ("llamba", "hybrid with mamba-1", "hybrid with mamba-2"):
        module = build(shape)
        module.keep()
        (name,) = module.compile_steps()
        assert name.endswith("step_in_place")
        module.pack(PackedProduct)
        counters.clear()
        batch = DecodeBatch(module, Sampler(SAMPLING), 12, 64)
        batch.admit(batch.prefill(PROMPTS[0]), range(7))
        drawn = [batch.advance()]
        num_graphs = counters["stats"]["unique_graphs"]
        drawn += [batch.advance() for _ in range(NEW_TOKENS - 1)]
        batch.admit(batch.prefill(PROMPTS[2]), range(20, 25))
        late = [batch.advance() for _ in range(3)]
        assert torch.stack(drawn, dim=1)[5].tolist() == whole_sequence_draws(shape, tuple(PROMPTS[0]), 0)[5]
        assert torch.stack(late, dim=1)[11].tolist() == whole_sequence_draws(shape, tuple(PROMPTS[2]), 20)[4][:3]
        assert num_graphs >= 1 and counters["stats"]["unique_graphs"] == num_graphs


def test_a_shared_prompt_is_not_copied_and_few_rows_do_not_share() -> None:
    module: Any = BUILDERS["llama"](LLAMA)
    module.initialise(torch.Generator().manual_seed(0))
    for size, is_shared in ((1, False), (7, False), (8, True)):
        batch = DecodeBatch(module, Sampler(SAMPLING), size, 64, shares_prompts=True)
        batch.admit(batch.prefill(PROMPTS[0]), range(size))
        state = batch._state
        assert isinstance(state, AttentionState) and state.lengths.tolist() == [len(PROMPTS[0])] * size
        assert bool(state.buffers["keys"].any()) is not is_shared
        if is_shared:
            with pytest.raises(AssertionError, match="cannot be saved"):
                state.snapshot()


def test_a_model_says_what_makes_it_fast(tmp_path: Path, write_tokenizer: Callable[..., Path]) -> None:
    folder = write_tokenizer(tmp_path)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"")
    for dtype, kernels in (
        (torch.float32, "pytorch-eager, weights packed by onednn"),
        (torch.float64, "pytorch-eager"),
    ):
        module = BUILDERS["llama"](LLAMA).to(dtype)
        checkpoint = LoadedCheckpoint(
            family="llama",
            folder=folder,
            module=module,
            tokenizer=ChatTokenizer(folder),
            eos_ids=frozenset(),
            device=torch.device("cpu"),
            dtype=dtype,
        )
        description = EngineModel(checkpoint).description
        assert (description["kernels"], description["shares_prompts"]) == (kernels, True)
        assert EngineModel(checkpoint, shares_prompts=False).description["shares_prompts"] is False
