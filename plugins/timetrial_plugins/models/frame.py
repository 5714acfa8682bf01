"""What a Llama and its hybrids have in common: embedding, a list of layers, final norm and head, and what they cost.

Parameter names are those of Hugging Face's LlamaForCausalLM.
Shapes: B batch, T tokens, V vocabulary, D model width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, cast

from torch import Tensor, nn
from torch.nn import functional

from timetrial_plugins.models.attention import SequenceView, view_sequences
from timetrial_plugins.models.interface import Anatomy, CausalModule, Footprint, Layer, State
from timetrial_plugins.models.joint import JointLinear
from timetrial_plugins.models.layers import Llama3Scaling, RMSNorm, Rotary
from timetrial_plugins.models.scan.precision import widen

if TYPE_CHECKING:
    from timetrial_plugins.models.llama import LlamaConfig


class Backbone(nn.Module):
    """Embedding, layers and final norm, under the names of Hugging Face's `model.` prefix."""

    def __init__(self, config: LlamaConfig, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(layers)
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)


class LlamaFrame(CausalModule[State]):
    """A language model around any list of layers."""

    def __init__(self, shape: LlamaConfig, layers: Iterable[nn.Module], scaling: Llama3Scaling | None) -> None:
        super().__init__()
        self.model = Backbone(shape, layers)
        self.rotary = Rotary(shape.head_dim, shape.rope_theta, scaling)
        self.vocab_size, self.context_length = shape.vocab_size, shape.max_position_embeddings
        is_tied = shape.tie_word_embeddings
        # Old checkpoints store what the rotary tables are made of; tied ones may store the head once more.
        self.redundant_tensors = (r".*rotary_emb\.inv_freq", *([r"lm_head\.weight"] if is_tied else []))
        self.lm_head = None if is_tied else nn.Linear(shape.hidden_size, shape.vocab_size, bias=False)
        self.joint_head = JointLinear(self.model.embed_tokens if self.lm_head is None else self.lm_head)

    @property
    def anatomy(self) -> Anatomy:
        """The modules that `logits` runs one after the other."""
        head = self.model.embed_tokens if self.lm_head is None else self.lm_head
        return Anatomy(self.model.embed_tokens, cast("Sequence[Layer]", self.model.layers), self.model.norm, head)

    def head(self, hidden: Tensor) -> Tensor:
        """Return logits (..., V) in float32 or wider from the last layer's output (..., D)."""
        weight = self.model.embed_tokens.weight if self.lm_head is None else self.lm_head.weight
        return widen(functional.linear(self.model.norm(hidden), weight))

    def step_head(self, hidden: Tensor) -> Tensor:  # (B, D) -> (B, V)
        """Return the logits of one token per row, as `head` does."""
        return widen(self.joint_head(self.model.norm.step(hidden)))

    def view(self, tokens: Tensor, doc_ids: Tensor | None) -> SequenceView:
        """Return what the layers must know of sequences `tokens` (B, T), with `doc_ids` of the same shape or None."""
        assert doc_ids is None or doc_ids.shape == tokens.shape, f"{doc_ids.shape} ids for {tokens.shape} tokens"
        length = tokens.shape[1]
        return view_sequences(self.rotary.tables(length, self.model.embed_tokens.weight), length, doc_ids)

    def cost(self, kv_values: int, state_bytes: int) -> Footprint:
        """Return the footprint of a family that keeps `kv_values` numbers a token and `state_bytes` a sequence.

        An untied embedding does not count, for a step reads one row of it.
        """
        embedding = self.model.embed_tokens.weight
        lookup = 0 if self.lm_head is None else embedding.numel()
        sizes = {name: parameter.numel() for name, parameter in self.named_parameters()}
        is_matrix = {name: parameter.dim() == 2 for name, parameter in self.named_parameters()}
        # A_log has two axes too, but nothing is multiplied by it as a matrix.
        matrices = sum(size for name, size in sizes.items() if is_matrix[name] and not name.endswith("A_log"))
        size = embedding.element_size()
        return Footprint((sum(sizes.values()) - lookup) * size, matrices - lookup, kv_values * size, state_bytes)
