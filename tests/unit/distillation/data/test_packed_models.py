"""Packed rows give each document the logits it has alone, in all three families."""

import pytest
import torch

from timetrial_distillation.data.generated import NutshellRows
from timetrial_distillation.data.packed import PackedRows
from timetrial_distillation.data.plan import PlanConfig
from timetrial_plugins.models.hybrid_config import HybridConfig
from timetrial_plugins.models.llama import Llama, LlamaConfig
from timetrial_plugins.models.llamba import Llamba
from timetrial_plugins.models.llamba_config import LlambaConfig
from timetrial_plugins.models.mamba_in_llama import MambaInLlama

LLAMA = {
    "vocab_size": 600,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}
LLAMBA = {
    "vocab_size": 600,
    "d_model": 32,
    "n_layer": 2,
    "tie_embeddings": True,
    "mlp_cfg": {"intermediate_size": 48},
    "ssm_cfg": {"d_state": 16, "n_v_heads": 4, "n_qk_heads": 4, "bias": True, "chunk_size": 16},
}
HYBRID = LLAMA | {
    "model_type": "llama",
    "mamba_config": {"ssm_cfg": {"expand": 1}, "d_xb": 16, "attn_layers": [1]},
}


def make(family):
    module = {
        "llama": lambda: Llama(LlamaConfig.from_json(LLAMA)),
        "llamba": lambda: Llamba(LlambaConfig.from_json(LLAMBA)),
        "mamba-in-llama": lambda: MambaInLlama(HybridConfig.from_json(HYBRID)),
    }[family]()
    module.initialise(torch.Generator().manual_seed(0))
    return module.double()


@pytest.fixture(params=["prepared", "generated"])
def rows(request, prepare_texts, encoder):
    if request.param == "generated":
        return NutshellRows(encoder, 256).rows(0, 2)
    data = prepare_texts([f"Ann has {i} apples. " * (1 + i % 7) for i in range(30)])
    return PackedRows(data, PlanConfig(length=96, seed=1)).rows(0, 3)


@pytest.mark.parametrize("family", ["llama", "llamba", "mamba-in-llama"])
def test_packed_documents_have_the_logits_they_have_alone(family, rows):
    model = make(family)
    with torch.no_grad():
        packed = model.logits(rows.tokens, rows.doc_ids)
        for tokens, doc_ids, logits in zip(rows.tokens, rows.doc_ids, packed, strict=True):
            assert int(doc_ids.max()) >= 2
            for number in range(int(doc_ids.max()) + 1):
                mine = doc_ids == number
                alone = model.logits(tokens[mine][None])[0]
                torch.testing.assert_close(logits[mine], alone, rtol=0, atol=1e-9)
        leaky = model.logits(rows.tokens)
    assert (leaky - packed).abs().max() > 1e-4  # so the documents do matter to one another where they can see


@pytest.mark.parametrize("family", ["llama", "llamba", "mamba-in-llama"])
def test_what_stands_on_padding_changes_nothing(family, prepare_texts):
    data = prepare_texts([f"Ann has {i} apples." for i in range(5)])
    rows = PackedRows(data, PlanConfig(length=96)).rows(0, 1)
    is_padding = rows.doc_ids == rows.doc_ids.max()
    assert 0 < int(is_padding.sum()) == rows.tokens.numel() - rows.num_tokens
    model = make(family)
    with torch.no_grad():
        before = model.logits(rows.tokens, rows.doc_ids)
        after = model.logits(torch.where(is_padding, 7, rows.tokens), rows.doc_ids)
    torch.testing.assert_close(before[~is_padding], after[~is_padding], rtol=0, atol=0)
