import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from timetrial_plugins.models.llama import Llama, LlamaConfig
from timetrial_plugins.nutshell import generator
from timetrial_plugins.nutshell.plugin import timetrial_checkpoints
from timetrial_plugins.nutshell.tokenizer import build_tokenizer, load_tokenizer

SPEC = next(spec for spec in timetrial_checkpoints() if spec.name == "nutshell-llama")
FOLDER = Path(SPEC.location)


@pytest.fixture(scope="module")
def model():
    config = LlamaConfig.from_json(json.loads((FOLDER / "config.json").read_text(encoding="utf-8")))
    module = Llama(config)
    weights = load_file(FOLDER / "model.safetensors")
    module.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    return module.eval()


def complete_greedily(model, tokenizer, text):
    chat = [{"role": "user", "content": text}]
    prompt = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    tokens = tokenizer.encode(prompt, add_special_tokens=False)
    completion = []
    with torch.inference_mode():
        while len(completion) < 160:
            logits = model.logits(torch.tensor([tokens + completion]))
            completion.append(int(logits[0, -1].argmax()))
            if completion[-1] == tokenizer.eos_token_id:
                break
    return tokenizer.decode(completion, skip_special_tokens=True)


def test_the_checkpoint_is_offered_by_name():
    assert SPEC.name == "nutshell-llama"
    assert SPEC.family == "llama"
    assert SPEC.temperature == 0.8


def test_the_shipped_folder_is_small():
    assert sum(path.stat().st_size for path in FOLDER.rglob("*")) < 8_000_000


def test_the_shipped_tokenizer_is_the_one_that_is_built(model):
    shipped = (FOLDER / "tokenizer.json").read_text(encoding="utf-8")
    assert shipped == build_tokenizer().to_str(pretty=True)
    assert model.config.vocab_size == build_tokenizer().get_vocab_size()


def test_the_shipped_model_solves_easy_problems_it_was_not_trained_on(model):
    tokenizer = load_tokenizer(FOLDER)
    problems = [p for p in generator.test_problems() if p.level == 1][:8]
    texts = [complete_greedily(model, tokenizer, problem.text) for problem in problems]
    endings = [text.split("\n\n")[-1] for text in texts]
    assert all(ending.startswith(generator.ANSWER_PREFIX) for ending in endings)
    answers = [ending.removeprefix(generator.ANSWER_PREFIX) for ending in endings]
    assert sum(a == p.answer for a, p in zip(answers, problems, strict=True)) >= 4
