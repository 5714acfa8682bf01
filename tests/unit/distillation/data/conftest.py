"""Tokenizers and data sets small enough to be looked at."""

import json
from pathlib import Path

import pytest

import timetrial_plugins.nutshell
from timetrial_distillation.data.encoding import DocumentEncoder
from timetrial_distillation.data.files import open_files
from timetrial_distillation.data.pipeline import Pipeline
from timetrial_distillation.data.prepare import PrepareConfig, prepare
from timetrial_distillation.data.prepared import PreparedData

NUTSHELL = Path(timetrial_plugins.nutshell.__file__).parent / "llama"

HEADERS = (
    "{{ '<|begin|>' }}{% for message in messages %}"
    "{{ '<|head|>' + message['role'] + '<|tail|>\n\n' + message['content'] + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|head|>assistant<|tail|>\n\n' }}{% endif %}"
)
"""Like Llama 3's: the prompt ends in a blank line, which is text."""


@pytest.fixture(scope="session")
def encoder():
    return DocumentEncoder(NUTSHELL)


@pytest.fixture
def make_encoder(tmp_path_factory):
    """Bytes as tokens, two line ends merge into one; with a template, or without."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    def make(template=HEADERS):
        special = ("<|begin|>", "<|head|>", "<|tail|>", "<|end|>")
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        names = [*special, *alphabet, "\u010a\u010a"]  # how byte-level tokenizers write the line end
        vocabulary = {name: number for number, name in enumerate(names)}
        tokenizer = Tokenizer(models.BPE(vocabulary, merges=[("\u010a", "\u010a")]))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.add_special_tokens([AddedToken(name, special=True) for name in special])
        folder = tmp_path_factory.mktemp("tokenizer")
        tokenizer.save(str(folder / "tokenizer.json"))
        settings = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<|begin|>",
            "eos_token": "<|end|>",
            "clean_up_tokenization_spaces": False,
        }
        if template is not None:
            settings["chat_template"] = template
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        return DocumentEncoder(folder)

    return make


@pytest.fixture
def write_lines(tmp_path):
    """Write records as JSON lines; return the path."""

    def write(records, name="records.jsonl"):
        path = tmp_path / name
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        return path

    return write


@pytest.fixture
def prepare_texts(write_lines, tmp_path, encoder):
    """Prepare plain texts, several shards of them; return the open data."""

    def make(texts, name="prepared", shard_tokens=200):
        path = write_lines([{"text": text} for text in texts], f"{name}.jsonl")
        pipeline = Pipeline(source=open_files([str(path)]), encoder=encoder)
        prepare(pipeline, PrepareConfig(tokenizer="nutshell-llama", shard_tokens=shard_tokens), tmp_path / name)
        return PreparedData(tmp_path / name)

    return make
