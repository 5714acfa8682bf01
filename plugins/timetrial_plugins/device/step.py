"""One decode step on a device: draw every row's next token, read it, and keep the logits for the one after it.

Nothing in here may depend on anything but the bucket and the contents of static tensors, nor ask the device for a
value: this is what is recorded, as a CUDA graph or as a list of calls.
Legend: see the package.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from timetrial_plugins.device.memory import RowMemory
from timetrial_plugins.device.recipe import Recipe
from timetrial_plugins.engine.graph import Bucket
from timetrial_plugins.engine.sampler import Sampler
from timetrial_plugins.ops.step_ops import StepOps

Draw = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""From logits (B, V), streams and positions (B,) to tokens, written into the last argument (B,)."""


def drawing(sampler: Sampler, ops: StepOps) -> Draw:
    """Return how tokens are drawn: by the operation, or by the sampler where it leaves out improbable tokens."""
    temperature = sampler.whole_temperature
    if temperature is None:
        return lambda logits, streams, positions, tokens: tokens.copy_(sampler.draw(logits, streams, positions))
    return lambda logits, streams, positions, tokens: ops.draw(logits, streams, positions, temperature, tokens)


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
        self._hidden = recipe.embedding.new_zeros(rows, recipe.embedding.shape[1])  # (R, D)

    def __call__(self, bucket: Bucket) -> None:
        """Do the step for the rows of a bucket."""
        self.draw(bucket)
        self.read(bucket)
        self.advance(bucket)

    def draw(self, bucket: Bucket) -> None:
        """Draw each row's next token."""
        rows = slice(bucket.rows)
        self._draw(self.logits[rows], self._memory.streams[rows], self._memory.counts[rows], self.tokens[rows])

    def advance(self, bucket: Bucket) -> None:
        """Count the tokens that were drawn and read."""
        self._memory.advance(bucket.rows, self._ops)

    def read(self, bucket: Bucket) -> None:
        """Read each row's token: write it into the memory, and the logits of the next one.

        A row without a next token is on its way out: what it reads until then does not matter.
        """
        recipe, ops = self._recipe, self._ops
        rows, used = self._memory.view(bucket), slice(bucket.rows)
        hidden = ops.embed(self.tokens[used], recipe.embedding, self._hidden[used])  # written over by every layer
        added: Tensor | None = None
        for layer in recipe.layers:
            mixed = layer.mixer.step(ops.add_norm(hidden, added, layer.norm), rows, ops)
            normed = ops.add_norm(hidden, mixed, layer.mlp_norm)
            added = layer.mlp.joint_out(ops.gated_product(layer.mlp.joint_in(normed)))
        recipe.head(ops.add_norm(hidden, added, recipe.norm), out=self.logits[used])
