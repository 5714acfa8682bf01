"""The plain way to score steps: one forward of the whole network per step, as the published codes do it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file

from .vocabularies import KI

Reference = Callable[[str, Sequence[str]], list[float]]


def rlhflow(folder: Path) -> Reference:
    """Render the conversation about the first steps, and read the logits at the third token from its end."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    template = tokenizer.chat_template.replace("strftime_now('%d %b %Y')", "'26 Jul 2024'")
    module = transformers.LlamaForCausalLM.from_pretrained(folder)

    def score(question: str, steps: Sequence[str]) -> list[float]:
        messages, scores = [], []
        for number, step in enumerate(steps):
            messages += [
                {"role": "user", "content": step if number else f"{question} {step}"},
                {"role": "assistant", "content": "+"},
            ]
            ids = tokenizer.apply_chat_template(messages, chat_template=template, return_dict=False)
            scores.append(float(_logits(module, ids)[-3, [10, 12]].softmax(0)[0]))
        return scores

    return score


def outcome(folder: Path) -> Reference:
    whole = rlhflow(folder)
    return lambda question, steps: whole(question, ["\n\n".join(steps)])


def math_shepherd(folder: Path) -> Reference:
    """Tokenise the text about the first steps, and read the logits at its last token, the tag."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    module = transformers.MistralForCausalLM.from_pretrained(folder)

    def score(question: str, steps: Sequence[str]) -> list[float]:
        scores = []
        for number in range(1, len(steps) + 1):
            ids = tokenizer.encode(f"{question} " + "\n\n".join(f"{step} {KI}" for step in steps[:number]))
            assert ids[-1] == 12902
            scores.append(float(_logits(module, ids)[-1, [648, 387]].softmax(0)[0]))
        return scores

    return score


def qwen_prm(folder: Path) -> Reference:
    """Run the published network, body and head in a row, over the chat about the first steps."""
    tokenizer, body = _body(folder)
    tensors = load_file(folder / "model.safetensors")
    width = tensors["score.0.bias"].numel()
    head = torch.nn.Sequential(torch.nn.Linear(width, width), torch.nn.ReLU(), torch.nn.Linear(width, 2))
    head.load_state_dict({name[6:]: tensor for name, tensor in tensors.items() if name.startswith("score.")})

    def score(question: str, steps: Sequence[str]) -> list[float]:
        scores = []
        for number in range(1, len(steps) + 1):
            messages = [
                {
                    "role": "system",
                    "content": "Please reason step by step, and put your final answer within \\boxed{}.",
                },
                {"role": "user", "content": question},
                {"role": "assistant", "content": "".join(f"{step}<extra_0>" for step in steps[:number])},
            ]
            ids = tokenizer.encode(tokenizer.apply_chat_template(messages, tokenize=False))
            place = max(place for place, token in enumerate(ids) if token == 151651)
            with torch.no_grad():
                hidden = body(torch.tensor([ids])).last_hidden_state
                scores.append(float(head(hidden)[0, place].softmax(0)[1]))
        return scores

    return score


def skywork(folder: Path) -> Reference:
    """Run the network over the problem and the first steps, a line each, and read the value at the last newline."""
    tokenizer, body = _body(folder)
    tensors = load_file(folder / "model.safetensors")

    def score(question: str, steps: Sequence[str]) -> list[float]:
        ids = tokenizer.encode(tokenizer.bos_token + question + "\n")
        scores = []
        for step in steps:
            ids += [*tokenizer.encode(step), tokenizer.encode("\n")[-1]]
            with torch.no_grad():
                hidden = body(torch.tensor([ids])).last_hidden_state[0, -1]
                value = tensors["v_head.summary.weight"] @ hidden + tensors["v_head.summary.bias"]
            scores.append(float(value.sigmoid()))
        return scores

    return score


def _body(folder: Path):  # type: ignore[no-untyped-def]  # transformers has no types
    config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    body = transformers.Qwen2Model(config).eval()
    tensors = load_file(folder / "model.safetensors")
    body.load_state_dict({name[6:]: tensor for name, tensor in tensors.items() if name.startswith("model.")})
    return transformers.AutoTokenizer.from_pretrained(folder), body


def _logits(module: transformers.PreTrainedModel, ids: Sequence[int]) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = module(torch.tensor([ids])).logits[0]
    return logits
