"""Recorded steps give the same tokens as eager ones, and the recorder's work costs no step."""

import pytest
import torch

from timetrial_plugins.engine.graph import Bucket, Buckets, CudaRecorder, GraphRunner
from timetrial_plugins.engine.step_plan import plan_steps
from timetrial_plugins.ops.packages import MODULES, inspect_package
from timetrial_plugins.ops.reference import REFERENCE
from timetrial_plugins.ops.selection import DeviceFacts, implementations
from timetrial_plugins.ops.step_ops import Memory, NormWeights
from timetrial_plugins.ops.trials import Trials, TrialSizes

pytestmark = pytest.mark.gpu

ROWS, STEPS, VOCABULARY = 6, 40, 500
SIZES = TrialSizes(rows=8, model_width=256, heads=4, kv_heads=2, head_dim=64, vocabulary=VOCABULARY, slots=8)


class TinyLlamba:
    """A layer and a head around static buffers; a step reads the last token and draws the next one."""

    def __init__(self, ops, device):
        generator = torch.Generator(device).manual_seed(3)
        projected, self.weights, self.memory = Trials(SIZES, device, torch.float32).all()["llamba"]
        self.ops, rows = ops, SIZES.rows

        def drawn(*shape):
            return torch.randn(shape, generator=generator, device=device) / shape[-1] ** 0.5

        self.embedding, self.head = 16 * drawn(VOCABULARY, 256), drawn(VOCABULARY, 256)
        self.into, self.out = drawn(projected.shape[1], 256), drawn(256, 256)
        self.norm = NormWeights(torch.ones(256, device=device), 1e-5, False)
        self.tokens = torch.zeros(rows, dtype=torch.int64, device=device)
        self.counts, self.streams = torch.zeros_like(self.tokens), torch.arange(rows, device=device)

    def step(self, bucket):
        rows = slice(bucket.rows)
        hidden = self.embedding[self.tokens[rows]]
        projected = self.ops.add_norm(hidden, None, self.norm) @ self.into.T
        memory = Memory(self.memory.window[rows], self.memory.state[rows])
        mixed = self.ops.llamba(projected, self.weights, memory) @ self.out.T
        logits = self.ops.add_norm(hidden, mixed, self.norm) @ self.head.T
        self.tokens[rows] = self.ops.draw(logits, self.streams[rows], self.counts[rows], 0.0)
        self.counts[rows] += 1


def tokens_of(model, run):
    """The tokens of every step."""
    found = []
    with torch.inference_mode():
        for _ in range(STEPS):
            run(ROWS)
            found.append(model.tokens[:ROWS].tolist())
    return found


@pytest.mark.parametrize("name", ["triton", "pytorch"])
def test_graphs_give_the_tokens_of_eager_steps(request, device, name):
    ops = request.getfixturevalue("kernels") if name == "triton" else REFERENCE
    eager, recorded = TinyLlamba(ops, device), TinyLlamba(ops, device)
    expected = tokens_of(eager, lambda rows: eager.step(Bucket(rows, 1)))
    runner = GraphRunner(recorded.step, Buckets.up_to(8, 1), CudaRecorder(device))
    assert tokens_of(recorded, lambda rows: runner.run(rows, 1)) == expected
    assert runner.problem is None and runner.recorded == (Bucket(6, 1),)
    assert len({tuple(tokens) for tokens in expected}) > 5, "the model says too little to compare"


def test_work_that_waits_for_the_host_runs_eagerly_and_says_why(device):
    counter = torch.zeros(1, device=device)

    def step(bucket):
        counter.add_(1)
        counter.item()

    runner = GraphRunner(step, Buckets.up_to(1, 1), CudaRecorder(device))
    for _ in range(5):
        runner.run(1, 1)
    assert runner.problem.startswith("recording a CUDA graph failed")
    assert counter.item() == 5


def test_this_machine_has_a_plan(device):
    facts = DeviceFacts("cuda", torch.cuda.get_device_capability(device))
    plan = plan_steps(facts, implementations(facts, {name: inspect_package(name) for name in MODULES}))
    assert plan.is_recorded
