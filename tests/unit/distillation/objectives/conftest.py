"""A Llama teacher of 2 layers, students of every kind made from it, and packed rows with padding."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from timetrial_distillation.data.rows import IGNORED, Rows
from timetrial_plugins.models.hybrid_config import HybridConfig
from timetrial_plugins.models.llama import Llama, LlamaConfig
from timetrial_plugins.models.llamba import Llamba
from timetrial_plugins.models.llamba_config import LlambaConfig
from timetrial_plugins.models.mamba_in_llama import MambaInLlama
from timetrial_plugins.models.students import initialise_hybrid, initialise_llamba

VOCABULARY = 61


class LargestTensor(TorchDispatchMode):
    """Remembers the number of elements of the largest tensor that any operation returned."""

    largest = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        outputs = function(*arguments, **(options or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(outputs) if isinstance(leaf, torch.Tensor)]
        self.largest = max([self.largest, *sizes])
        return outputs


@pytest.fixture
def make_teacher() -> Callable[..., Llama]:
    """Return a function that makes a Llama with weights that are all other than neutral."""

    def make(*, tied: bool = True, dtype: torch.dtype = torch.float32, seed: int = 0) -> Llama:
        config = LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,
            rms_norm_eps=1e-5,
            tie_word_embeddings=tied,
        )
        generator = torch.Generator().manual_seed(seed)
        teacher = Llama(config)
        teacher.initialise(generator, std=0.2)
        with torch.no_grad():
            for name, parameter in teacher.named_parameters():
                if name.endswith("norm.weight"):
                    parameter.uniform_(0.5, 1.5, generator=generator)
        return teacher.to(dtype)

    return make


@pytest.fixture
def make_llamba() -> Callable[..., Llamba]:
    """Return a function that makes a Llamba of a teacher."""

    def make(teacher: Llama, *, heads: int = 4, padding: int = 1, recipe: str = "mohawk") -> Llamba:
        config = LlambaConfig.from_json(
            {
                "vocab_size": VOCABULARY,
                "d_model": 64,
                "n_layer": 2,
                "tie_embeddings": teacher.config.tie_word_embeddings,
                "lm_head_bias": True,
                "pad_vocab_size_multiple": padding,
                "mlp_cfg": {"intermediate_size": 96},
                "ssm_cfg": {"d_state": 16, "n_v_heads": heads, "n_qk_heads": heads, "chunk_size": 5},
            }
        )
        student = Llamba(config)
        initialise_llamba(student, teacher, torch.Generator().manual_seed(1), recipe)
        return student.to(teacher.anatomy.embedding.weight.dtype)

    return make


@pytest.fixture
def make_hybrid() -> Callable[..., MambaInLlama]:
    """Return a function that makes a hybrid of a teacher, its last layer with attention unless told otherwise."""

    def make(teacher: Llama, kind: str = "mamba1", attention: tuple[int, ...] = (1,)) -> MambaInLlama:
        student = MambaInLlama(HybridConfig.of_teacher(teacher.config, attention, kind))
        initialise_hybrid(student, teacher, torch.Generator().manual_seed(1))
        return student.to(teacher.anatomy.embedding.weight.dtype)

    return make


@pytest.fixture
def rows() -> Rows:
    """Three rows of 12 tokens: two documents with prompts and some padding, one document, and one with much padding."""
    documents = [[0] * 5 + [1] * 5 + [2] * 2, [0] * 12, [0] * 3 + [1] * 9]
    learned = [[1, 2, 3, 7, 8], [4, 5, 6, 7, 8, 9, 10], [0, 1]]
    tokens = torch.randint(VOCABULARY, (3, 12), generator=torch.Generator().manual_seed(2))
    labels = torch.full_like(tokens, IGNORED)
    for row, places in enumerate(learned):
        for place in places:
            labels[row, place] = tokens[row, place + 1]
    return Rows(tokens, labels, torch.tensor(documents), 25, 14)


@pytest.fixture
def part() -> Callable[[Rows, slice], Rows]:
    """Return a function that takes some rows of many."""

    def take(rows: Rows, which: slice) -> Rows:
        tokens, labels, doc_ids = (tensor[which] for tensor in rows[:3])
        return Rows(tokens, labels, doc_ids, tokens.numel(), int((labels != IGNORED).sum()))

    return take


@pytest.fixture
def gradients() -> Callable[..., dict[str, torch.Tensor]]:
    """Return a function that gives the gradients of a stage over several micro-batches, per unit of all of them."""
    from timetrial_distillation.objectives.parameters import freeze_others

    def compute(objective, student, *batches):
        freeze_others(student, objective.trained(student))
        student.zero_grad(set_to_none=True)
        count = sum(objective.count(batch) for batch in batches)
        for batch in batches:
            objective.backward(student, batch, 1 / max(count, 1))
        return {name: p.grad.clone() for name, p in student.named_parameters() if p.grad is not None}

    return compute


@pytest.fixture
def largest_tensor() -> type[LargestTensor]:
    """Return a context that knows the largest tensor made inside it."""
    return LargestTensor
