"""One decode step on a device: draw every row's next token, read it, and keep the logits for the one after it.

Nothing in here may depend on anything but the bucket and the contents of static tensors, nor ask the device for a
value: this is what is recorded as a CUDA graph.
Legend: see the package.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from timetrial_plugins.device.memory import RowMemory
from timetrial_plugins.device.recipe import Recipe
from timetrial_plugins.engine.graph import Bucket
from timetrial_plugins.engine.sampler import Sampler
from timetrial_plugins.ops.step_ops import StepOps

Draw = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From logits (B, V), streams and positions (B,) to tokens (B,)."""


def drawing(sampler: Sampler, ops: StepOps) -> Draw:
    """Return how tokens are drawn: by the operation, or by the sampler where it leaves out improbable tokens."""
    temperature = sampler.whole_temperature
    if temperature is None:
        return sampler.draw
    return lambda logits, streams, positions: ops.draw(logits, streams, positions, temperature)


class DeviceStep:
    """The step of a batch, and the static tensors it ends and begins with."""

    def __init__(self, recipe: Recipe, ops: StepOps, memory: RowMemory, draw: Draw, rows: int) -> None:
        """Allocate logits and tokens of `rows` rows; `memory` has as many."""
        self._recipe, self._ops, self._memory, self._draw = recipe, ops, memory, draw
        device, vocabulary = recipe.embedding.device, recipe.head.num_outputs
        self.logits = torch.zeros(rows, vocabulary, dtype=torch.float32, device=device)
        """Of each row's next token, (R, V)."""
        self.tokens = torch.zeros(rows, dtype=torch.int64, device=device)
        """Drawn in the last step, (R,); -1 where the logits are not numbers."""
        self.streams = torch.zeros_like(self.tokens)
        """Seeds of random numbers, (R,)."""

    def __call__(self, bucket: Bucket) -> None:
        """Do the step for the rows of a bucket."""
        rows = slice(bucket.rows)
        tokens = self._draw(self.logits[rows], self.streams[rows], self._memory.counts[rows])
        self.tokens[rows] = tokens
        # A row without a next token is on its way out: what it reads until then does not matter.
        self.logits[rows] = self.read(tokens.clamp(min=0), bucket)
        self._memory.advance(bucket.rows)

    def read(self, tokens: Tensor, bucket: Bucket) -> Tensor:
        """Return the logits (B, V) after `tokens` (B,), in the type of the weights."""
        recipe, ops = self._recipe, self._ops
        rows = self._memory.view(bucket)
        hidden = functional.embedding(tokens, recipe.embedding)  # (B, D), written over by every layer
        added: Tensor | None = None
        for layer in recipe.layers:
            mixed = layer.mixer.step(ops.add_norm(hidden, added, layer.norm), rows, ops)
            normed = ops.add_norm(hidden, mixed, layer.mlp_norm)
            added = layer.mlp.joint_out(ops.gated_product(layer.mlp.joint_in(normed)))
        return recipe.head(ops.add_norm(hidden, added, recipe.norm))
