"""Whole models on a device: recorded steps, of Triton's kernels or PyTorch's, say what the modules' own steps say."""

import pytest
import torch

from timetrial.clock import MonotonicClock
from timetrial.protocol import Sampling
from timetrial.spec import LoadOptions
from timetrial_plugins.engine import placement
from timetrial_plugins.engine.graph import CudaRecorder
from timetrial_plugins.engine.random_weights import build_random
from timetrial_plugins.engine.sampler import Sampler
from timetrial_plugins.models.families import BUILDERS

pytestmark = pytest.mark.gpu

LLAMA = {
    "model_type": "llama", "vocab_size": 500, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64,
}  # fmt: skip
MAMBA = {"d_xb": 128, "attn_layers": [1, 3], "intermediate_size": 512}
FAMILIES = {
    "llama": ("llama", LLAMA),
    "llamba": (
        "llamba",
        {
            "vocab_size": 500, "d_model": 256, "n_layer": 4, "tie_embeddings": True,
            "mlp_cfg": {"intermediate_size": 512}, "ssm_cfg": {"d_state": 64, "n_v_heads": 4, "n_qk_heads": 4},
        },
    ),
    "mamba-1": ("mamba_in_llama", LLAMA | {"mamba_config": MAMBA | {"ssm_cfg": {"expand": 1, "d_state": 16}}}),
    "mamba-2": (
        "mamba_in_llama",
        LLAMA | {"mamba_config": MAMBA | {"ssm_cfg": {"expand": 1, "ngroups": 4, "d_state": 64}, "d_inner": 256}},
    ),
}  # fmt: skip
PROMPTS = ([5, 9, 2, 44, 17, 8, 30], [1, 2, 3])


@pytest.fixture(params=FAMILIES)
def build(request, device):
    """Make the family's model with the same random weights and other kernels."""
    family, config = FAMILIES[request.param]

    def make(kernels, dtype="float32", state_interval=1):
        options = LoadOptions(device=str(device), dtype=dtype, kernels=kernels, state_interval=state_interval)
        return build_random(config, options, family=family, build=BUILDERS[family])

    return make


def rows_of(model, *, shares_prompts=False, steps=40):
    """What rows of two prompts draw, by their streams, while some of them leave; and the batch."""
    batch = model._batch(Sampler(Sampling(temperature=1.0)), 12, 160, shares_prompts=shares_prompts)
    batch.admit(batch.prefill(PROMPTS[0]), range(9))
    batch.admit(batch.prefill(PROMPTS[1]), [50, 51])
    streams, drawn = [*range(9), 50, 51], {}
    for leaving in ([0, 10], [3], []):
        for _ in range(steps):
            for stream, token in zip(streams, batch.advance().tolist(), strict=True):
                drawn.setdefault(stream, []).append(token)
        for move in batch.drop(leaving):
            streams[move.target] = streams[move.source]
        del streams[batch.size :]
    return drawn, batch


@pytest.mark.parametrize("kernels", ["triton", "pytorch"])
@pytest.mark.parametrize("shares_prompts", [False, True], ids=["own prompts", "shared prompts"])
def test_recorded_steps_draw_what_the_modules_own_do(build, kernels, shares_prompts):
    """One row may part: where a random number lies on the border between two tokens up to rounding."""
    recorded = build(kernels)
    drawn, batch = rows_of(recorded, shares_prompts=shares_prompts)
    expected, _ = rows_of(build("eager"))
    assert sum(drawn[stream] != expected[stream] for stream in expected) <= 1
    assert recorded._kernels() == f"{kernels}, cuda graphs"
    assert batch._runner.problem is None and batch._runner.recorded


@pytest.mark.parametrize("build", ["llamba"], indirect=True)
@pytest.mark.parametrize("kernels", ["triton", "pytorch"])
@pytest.mark.parametrize("interval", [3, 16])
def test_states_written_every_few_steps_draw_what_the_modules_own_do(build, kernels, interval):
    """Rows leave and take the places of others in the middle of their cycles."""
    drawn, batch = rows_of(build(kernels, state_interval=interval))
    expected, _ = rows_of(build("eager"))
    assert sum(drawn[stream] != expected[stream] for stream in expected) <= 1
    assert batch._runner.problem is None and batch._runner.recorded


@pytest.mark.parametrize("kernels", ["triton", "pytorch"])
def test_replays_are_the_same_to_the_bit_when_all_is_done_again(build, kernels):
    first, second = (rows_of(build(kernels, "bfloat16")) for _ in range(2))
    assert first[0] == second[0]
    assert torch.equal(first[1]._step.logits, second[1]._step.logits)


def test_nothing_is_recorded_while_time_is_taken(build, device, monkeypatch):
    model, recorded, seen = build("auto", "bfloat16"), [], []
    record = CudaRecorder.record
    monkeypatch.setattr(CudaRecorder, "record", lambda self, work: recorded.append(1) or record(self, work))

    def look():
        placement.synchronize(device)
        seen.append(len(recorded))

    assert model.decode_timing(8, 100, 60, clock=MonotonicClock(look), seed=0).decode_s > 0
    assert seen == [seen[0]] * 3 and seen[0] >= 1
    assert "cuda graphs" in model._kernels()


def test_a_batch_gives_its_memory_back_when_it_is_let_go(build):
    model = build("auto", "bfloat16")
    rows_of(model)
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    for _ in range(3):
        rows_of(model)
    torch.cuda.synchronize()
    assert torch.cuda.memory_allocated() <= before + 2**20
