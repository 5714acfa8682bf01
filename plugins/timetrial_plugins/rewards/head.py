"""The last step of scoring: from hidden states at the few positions that matter to probabilities.

Every published head comes down to one logit, whose sigmoid is the score: the softmax over two logits is the sigmoid of
their difference. So two rows of an output head become one, and no logits of a vocabulary are ever made.
Shapes: M positions, D model width, E width between the layers of a head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from timetrial.error import CheckpointError
from timetrial_plugins.rewards.formats.encoded import Labels

CLASS_TENSORS, VALUE_TENSORS = r"score\..*", r"v_head\..*"
"""Regular expressions for the names of a published head's tensors."""
_CLASSES = ("score.0.weight", "score.0.bias", "score.2.weight", "score.2.bias")
_VALUE = ("v_head.summary.weight", "v_head.summary.bias")


class Linear(NamedTuple):
    """One layer, in float32."""

    weight: Tensor  # (E, D)
    bias: Tensor | None  # (E,)


class ScoreHead:
    """Linear layers with ReLU between them, the last of a single output, and a sigmoid; all in float32."""

    def __init__(self, layers: Sequence[Linear]) -> None:
        """Take the layers, first to last."""
        assert len(layers[-1].weight) == 1, "a score is one number"
        self.layers = [Linear(one.weight.float(), None if one.bias is None else one.bias.float()) for one in layers]

    def on(self, device: torch.device) -> ScoreHead:
        """Return the same head on a device."""
        return ScoreHead(
            [Linear(one.weight.to(device), None if one.bias is None else one.bias.to(device)) for one in self.layers]
        )

    def __call__(self, hidden: Tensor) -> Tensor:  # (M, D) -> (M,)
        """Return the scores, between 0 and 1."""
        first, *others = self.layers
        values = functional.linear(hidden.float(), *first)
        for layer in others:
            values = functional.linear(functional.relu(values), *layer)
        return torch.sigmoid(values[:, 0])


def label_head(weight: Tensor, bias: Tensor | None, labels: Labels) -> ScoreHead:
    """Return what the output head (V, D) of a language model makes of "+" against "-".

    The rows are subtracted in float32: in bfloat16 near-certain scores would tie.

    Raises:
        CheckpointError: the head has no row for a label.
    """
    pair = list(labels)
    if max(pair) >= len(weight):
        raise CheckpointError(
            f"token {max(pair)} is beyond the {len(weight)} rows of the output head: the tokenizer is another model's"
        )
    rows = weight.detach()[pair].float()
    offsets = None if bias is None else bias.detach()[pair].float()
    return ScoreHead([Linear(rows[:1] - rows[1:], None if offsets is None else offsets[:1] - offsets[1:])])


def class_head(tensors: Mapping[str, Tensor]) -> ScoreHead:
    """Return the head of two classes, the second of which is a right step (Qwen2.5-Math-PRM).

    Raises:
        CheckpointError: tensors are missing, or are others.
    """
    _check(tensors, _CLASSES, "score.2.weight", 2)
    inner, inner_bias, outer, outer_bias = (tensors[name].float() for name in _CLASSES)
    last = Linear(outer[1:] - outer[:1], outer_bias[1:] - outer_bias[:1])
    return ScoreHead([Linear(inner, inner_bias), last])


def value_head(tensors: Mapping[str, Tensor]) -> ScoreHead:
    """Return the head of one value (Skywork-o1-Open-PRM).

    Raises:
        CheckpointError: tensors are missing, or are others.
    """
    _check(tensors, _VALUE, _VALUE[0], 1)
    return ScoreHead([Linear(tensors[_VALUE[0]], tensors[_VALUE[1]])])


def _check(tensors: Mapping[str, Tensor], expected: Sequence[str], last: str, num_outputs: int) -> None:
    if tensors.keys() != set(expected) or len(tensors[last]) != num_outputs:
        found = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in sorted(tensors.items())) or "nothing"
        raise CheckpointError(
            f"the checkpoint has no score head of this format: expected {', '.join(expected)} with {num_outputs} "
            f"output{'s' if num_outputs > 1 else ''}, found {found}"
        )
