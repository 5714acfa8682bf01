"""Tiny checkpoints in the Hub's layout, made on the spot: random weights, and a tokenizer with one token a byte."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from timetrial.rates import MachineRates

BOS, EOS = "<|begin|>", "<|end|>"
CHAT_TEMPLATE = (
    "{{ '<|begin|>' }}{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
)
VOCABULARY_SIZE = 258

LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
DEFAULT_ROPE = {"rope_type": "default", "rope_theta": 10000.0}

WriteTokenizer = Callable[..., Path]
MakeCheckpoint = Callable[..., Path]


@pytest.fixture(scope="session")
def write_tokenizer() -> WriteTokenizer:
    """Return a function that writes a byte-level tokenizer into a folder."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    def write(folder: Path, chat_template: str | None = CHAT_TEMPLATE, adds_bos: bool = True) -> Path:
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(alphabet)}, merges=[]))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.add_special_tokens([AddedToken(BOS, special=True), AddedToken(EOS, special=True)])
        if adds_bos:
            tokenizer.post_processor = processors.TemplateProcessing(
                single=f"{BOS} $A", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
            )
        wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS)
        wrapped.chat_template = chat_template
        wrapped.save_pretrained(folder)
        return folder

    return write


@pytest.fixture(scope="session")
def make_checkpoint(tmp_path_factory: pytest.TempPathFactory, write_tokenizer: WriteTokenizer) -> MakeCheckpoint:
    """Return a function that saves a random Llama with `save_pretrained`, and its tokenizer beside it."""
    import torch
    import transformers

    def make(
        *,
        tied: bool = True,
        kv_heads: int = 2,
        rope: dict[str, object] = DEFAULT_ROPE,
        max_shard_size: str = "1GB",
        context: int = 128,
        chat_template: str | None = CHAT_TEMPLATE,
        **extra: object,
    ) -> Path:
        config = transformers.LlamaConfig(
            vocab_size=VOCABULARY_SIZE,
            hidden_size=48,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=6,
            num_key_value_heads=kv_heads,
            tie_word_embeddings=tied,
            rope_parameters=dict(rope),
            max_position_embeddings=context,
            initializer_range=0.1,
            bos_token_id=VOCABULARY_SIZE - 2,
            eos_token_id=VOCABULARY_SIZE - 1,
            **extra,
        )
        torch.manual_seed(0)
        folder = tmp_path_factory.mktemp("checkpoint")
        transformers.LlamaForCausalLM(config).save_pretrained(folder, max_shard_size=max_shard_size)
        return write_tokenizer(folder, chat_template)

    return make


@pytest.fixture(scope="session")
def tiny_checkpoint(make_checkpoint: MakeCheckpoint) -> Path:
    """Return a tied, grouped-query checkpoint with llama3 RoPE scaling; do not write into it."""
    return make_checkpoint(rope=LLAMA3_ROPE)


@pytest.fixture(scope="session")
def edit_json() -> Callable[..., None]:
    """Return a function that changes and removes keys of a JSON file."""

    def edit(path: Path, remove: tuple[str, ...] = (), **changes: object) -> None:
        data = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({key: value for key, value in data.items() if key not in remove}))

    return edit


@pytest.fixture
def known_rates(monkeypatch: pytest.MonkeyPatch, rates_measured_once: Callable[..., MachineRates]) -> None:
    """Let commands take the rates of this machine that were measured before, if they were."""
    monkeypatch.setattr("timetrial_plugins.engine.roofline.measure_rates", rates_measured_once)
