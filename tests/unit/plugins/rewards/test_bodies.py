"""Reward models of the project's own families, fast and not: scores are those of the family's own logits, step by step.

Decoders of transformers' are bodies too, and agree with the project's where both know a family.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import timetrial
from timetrial.error import CheckpointError
from timetrial_plugins.models.configurations import named_configurations
from timetrial_plugins.models.families import BUILDERS
from timetrial_plugins.models.saving import save_weights
from timetrial_plugins.models.tokenizer import ChatTokenizer
from timetrial_plugins.nutshell.tokenizer import write_tokenizer
from timetrial_plugins.rewards import load_declared
from timetrial_plugins.rewards.body import Batch, make_batch
from timetrial_plugins.rewards.declaration import Declaration, write
from timetrial_plugins.rewards.formats.encoded import Encoded, Labels
from timetrial_plugins.rewards.formats.rlhflow import RlhflowFormat
from timetrial_plugins.rewards.head import class_head, label_head
from timetrial_plugins.rewards.loading import load_format
from timetrial_plugins.rewards.own_body import OwnBody
from timetrial_plugins.rewards.transformers_body import TransformersBody, load_decoder

from .checkpoints import write_math_shepherd, write_rlhflow

CPU = timetrial.LoadOptions(device="cpu", dtype="float32")
PROBLEM = timetrial.Problem(id="p", text="Mia has 5 coins and finds 3. How many?", gold="8")
PROMPT = timetrial.Prompt(problem="p", messages=(timetrial.Message("user", PROBLEM.text),))
TEXTS = ("5 + 3 = 8\n\n8 coins", "9", "5 coins\n\n3 coins\n\n5 + 3 = 8\n\nThe answer is 8")
LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
}
LLAMBA: dict[str, Any] = {
    "model_type": "llamba",
    "d_model": 32,
    "n_layer": 2,
    "tie_embeddings": False,
    "lm_head_bias": True,
    "pad_vocab_size_multiple": 8,
    "norm_epsilon": 1e-05,
    "mlp_cfg": {"intermediate_size": 48, "bias": False, "act_fn": "silu"},
    "ssm_cfg": {"d_state": 8, "n_v_heads": 4, "n_qk_heads": 4, "expand": 1, "activation": "identity", "bias": False},
}
HYBRID: dict[str, Any] = {
    **LLAMA,
    "tie_word_embeddings": True,
    "mamba_config": {
        "d_model": 48,
        "ssm_cfg": {"expand": 1},
        "rms_norm_eps": 1e-5,
        "d_xb": 16,
        "intermediate_size": 64,
        "hidden_act": "silu",
        "n_layer": 3,
        "attn_layers": [1],
    },
}
FAMILIES = {"llama": LLAMA, "llamba": LLAMBA, "mamba_in_llama": HYBRID}


def completions(texts: Sequence[str]) -> list[timetrial.Completion]:
    return [
        timetrial.Completion(
            model="m",
            task="t",
            temperature=0.5,
            problem="p",
            sample=sample,
            text=text,
            finish="stop",
            num_prompt_tokens=None,
            num_tokens=None,
            prompt_digest="",
        )
        for sample, text in enumerate(texts)
    ]


@pytest.fixture(scope="module", params=FAMILIES)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Any]:
    """Return a family's name, a folder as training leaves one, and the module that was written."""
    folder = tmp_path_factory.mktemp(request.param)
    write_tokenizer(folder)
    vocab_size = max(ChatTokenizer(folder).encode(" the")) + 900
    module = BUILDERS[request.param](FAMILIES[request.param] | {"vocab_size": vocab_size})
    module.initialise(torch.Generator().manual_seed(0), std=0.1)
    save_weights(module, folder)
    write(folder, Declaration(format="rlhflow", splitter="blank-line"))
    return request.param, folder, module.eval()


def step_by_step(folder: Path, module: Any, text: str) -> list[float]:
    """Read the logits of the whole vocabulary once per step."""
    format_ = RlhflowFormat(ChatTokenizer(folder))
    steps, scores = text.split("\n\n"), []
    for number in range(1, len(steps) + 1):
        tokens = torch.tensor([format_.encode(PROBLEM.text, steps[:number]).tokens])
        with torch.no_grad():
            scores.append(float(module.logits(tokens)[0, -1, list(format_.labels)].softmax(0)[0]))
    return scores


def test_scores_are_those_of_the_familys_logits(trained: tuple[str, Path, Any]) -> None:
    family, folder, module = trained
    reward_model = load_declared(folder, CPU)
    found = reward_model.score(PROBLEM, PROMPT, completions(TEXTS))
    for text, scores in zip(TEXTS, found, strict=True):
        assert scores == pytest.approx(step_by_step(folder, module, text), abs=1e-6)
    assert reward_model.description["family"] == family
    assert reward_model.description["shares_prompts"] is (family == "llama")


def test_a_declaration_leaves_the_checkpoint_a_model_of_its_family(trained: tuple[str, Path, Any]) -> None:
    _, folder, module = trained
    tokens = torch.arange(12)[None]
    loaded = timetrial.load_model(str(folder), device="cpu", dtype="float32")
    torch.testing.assert_close(loaded.logits(tokens), module.logits(tokens))


def test_half_precision_changes_scores_by_its_own_rounding_only(trained: tuple[str, Path, Any]) -> None:
    _, folder, _ = trained
    half = load_declared(folder, timetrial.LoadOptions(device="cpu", dtype="bfloat16"))
    found = half.score(PROBLEM, PROMPT, completions(TEXTS))
    exact = load_declared(folder, CPU).score(PROBLEM, PROMPT, completions(TEXTS))
    for some, others in zip(found, exact, strict=True):
        assert some == pytest.approx(others, abs=0.15)
    assert half.description["dtype"] == "bfloat16"


def test_transformers_and_the_projects_llama_agree(tmp_path: Path) -> None:
    folder = write_rlhflow(tmp_path)
    own = load_format("rlhflow", str(folder), CPU)
    whole = load_decoder(folder, torch.device("cpu"), torch.float32, with_head=True)
    body = TransformersBody(whole.get_decoder())
    batch = some_batch(prefix=7, vocab_size=own.reader.body.vocab_size)
    with torch.inference_mode():
        torch.testing.assert_close(body.states(batch), own.reader.body.states(batch), atol=1e-5, rtol=1e-4)


def some_batch(prefix: int, vocab_size: int) -> Batch:
    generator = torch.Generator().manual_seed(0)
    shared = torch.randint(vocab_size, (9,), generator=generator).tolist()
    solutions = []
    for length in (6, 11, 3):
        own = torch.randint(vocab_size, (length,), generator=generator).tolist()
        solutions.append(Encoded((*shared, *own), (9, 8 + length), 9))
    return make_batch(solutions, prefix, torch.device("cpu"))


@pytest.mark.parametrize("sliding_window", [None, 4, 8])
def test_a_sliding_window_reaches_into_the_shared_prefix(tmp_path: Path, sliding_window: int | None) -> None:
    folder = write_math_shepherd(tmp_path, sliding_window=sliding_window)
    body = TransformersBody(load_decoder(folder, torch.device("cpu"), torch.float32, with_head=False))
    with torch.inference_mode():
        apart, whole = body.states(some_batch(7, body.vocab_size)), body.states(some_batch(0, body.vocab_size))
    torch.testing.assert_close(apart, whole, atol=1e-5, rtol=1e-4)


def test_a_head_that_lacks_the_labels_rows_is_refused() -> None:
    with pytest.raises(CheckpointError, match="12 is beyond the 11 rows of the output head"):
        label_head(torch.zeros(11, 4), None, Labels(10, 12))


META = torch.device("meta")


def published_batch(prefix: int) -> Batch:
    return Batch(
        prefix=torch.zeros(prefix, dtype=torch.int64, device=META),
        tokens=torch.zeros(4, 700, dtype=torch.int64, device=META),
        rows=torch.arange(4, device=META),
        columns=torch.arange(4, device=META),
    )


@pytest.mark.parametrize("name", ["llama-3.1-8b", "llamba-8b", "mamba-in-llama-3b"])
def test_published_sizes_are_read_without_logits_of_the_vocabulary(name: str) -> None:
    """On the meta device, where shapes are all there is."""
    shape = next(shape for shape in named_configurations() if shape.name == name)
    with META:
        module = BUILDERS[shape.family](shape.config).to(torch.bfloat16)
    body = OwnBody(module, shape.family, META)
    with torch.inference_mode():
        states = body.states(published_batch(prefix=100 if body.continues else 0))
        scores = label_head(module.anatomy.head.weight, None, Labels(10, 12))(states)
    assert states.shape == (4, module.anatomy.embedding.weight.shape[1])
    assert scores.shape == (4,) and scores.dtype == torch.float32


QWEN_7B = {
    "vocab_size": 152064,
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
}


def test_qwen_prms_published_size_is_read_by_its_head() -> None:
    with META:
        module = transformers.Qwen2Model(transformers.Qwen2Config(**QWEN_7B)).to(torch.bfloat16)
        shapes = {"score.0.weight": (3584, 3584), "score.0.bias": (3584,), "score.2.weight": (2, 3584)}
        tensors = {name: torch.zeros(shape) for name, shape in (shapes | {"score.2.bias": (2,)}).items()}
    with torch.inference_mode():
        scores = class_head(tensors)(TransformersBody(module).states(published_batch(prefix=100)))
    assert scores.shape == (4,) and scores.dtype == torch.float32
