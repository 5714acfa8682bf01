"""The tokens of every format, one by one, against the format as its authors' own code builds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from timetrial.error import CheckpointError, UsageError
from timetrial_plugins.models.tokenizer import ChatTokenizer
from timetrial_plugins.nutshell.tokenizer import write_tokenizer as write_nutshell_tokenizer
from timetrial_plugins.rewards.formats.math_shepherd import MathShepherdFormat
from timetrial_plugins.rewards.formats.outcome import OutcomeFormat
from timetrial_plugins.rewards.formats.qwen_prm import SYSTEM, QwenPrmFormat
from timetrial_plugins.rewards.formats.rlhflow import RlhflowFormat
from timetrial_plugins.rewards.formats.skywork_prm import SkyworkPrmFormat

from .vocabularies import KI, gpt2_bytes, write_llama3, write_qwen

QUESTION = "What is 2 + 3 - 1?"
STEPS = ["First 2 + 3 is 5.", "Then 5 - 1 = 4.", "The answer is 4."]
Tokenizers = dict[str, ChatTokenizer]
Folders = dict[str, Path]


def chars(text: str) -> list[int]:
    """Return the ids of single bytes, for texts whose characters no merge joins."""
    ids, special = gpt2_bytes(), {" ": "\u0120", "\n": "\u010a"}
    return [ids[special.get(character, character)] for character in text]


def published(folder: Path) -> Any:  # Any: transformers has no types
    return AutoTokenizer.from_pretrained(folder)


def turns(steps: list[str]) -> list[dict[str, str]]:
    said = [f"{QUESTION} {steps[0]}", *steps[1:]]
    return [
        turn for text in said for turn in ({"role": "user", "content": text}, {"role": "assistant", "content": "+"})
    ]


# RLHFlow


def test_rlhflow_puts_the_ids_of_the_llama_3_chat_one_after_another(tmp_path: Path) -> None:
    plain = (
        "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' }}"
        "{{ m['content']|trim + '<|eot_id|>' }}{% endfor %}"
    )
    format_ = RlhflowFormat(ChatTokenizer(write_llama3(tmp_path, plain)))
    bos, start, end, eot, blank, plus = 128000, 128006, 128007, 128009, 271, 10
    user, assistant = [start, *chars("user"), end, blank], [start, *chars("assistant"), end, blank]
    first = [bos, *user, *chars("1+1? It is 3"), eot, *assistant]
    second = [plus, eot, *user, *chars("No: 2"), eot, *assistant]
    encoded = format_.encode("1+1?", ["It is 3", "No: 2"])
    assert list(encoded.tokens) == first + second
    assert encoded.positions == (len(first) - 1, len(first + second) - 1)
    assert encoded.num_prompt_tokens == 1 + len(user) + len("1+1?")


def test_rlhflow_labels_are_10_and_12_in_the_llama_3_vocabulary(tokenizers: Tokenizers) -> None:
    assert RlhflowFormat(tokenizers["llama3"]).labels == (10, 12)


@pytest.mark.parametrize("num_steps", [1, 2, 3])
def test_rlhflow_reads_each_step_where_the_published_loop_does(
    tokenizers: Tokenizers, tokenizer_folders: Folders, num_steps: int
) -> None:
    """The published loop renders a conversation for each number of steps, and reads the third token from its end."""
    encoded = RlhflowFormat(tokenizers["llama3"]).encode(QUESTION, STEPS)
    whole = published(tokenizer_folders["llama3"]).apply_chat_template(
        turns(STEPS[:num_steps]), tokenize=True, return_dict=False
    )
    read = encoded.tokens[: encoded.positions[num_steps - 1] + 1]
    assert whole[-3:] == [271, 10, 128009]
    # The system header tells the date: that of today there, a fixed one here.
    assert list(read[read.index(128009) :]) == whole[whole.index(128009) : -2]
    assert "Today Date: 26 Jul 2024" in tokenizers["llama3"].decode(read)


def test_rlhflow_without_the_system_header_begins_with_the_first_turn(tokenizers: Tokenizers) -> None:
    with_header = RlhflowFormat(tokenizers["llama3"]).encode(QUESTION, STEPS)
    bare = RlhflowFormat(tokenizers["llama3"], system_header=False).encode(QUESTION, STEPS)
    assert bare.tokens[:3] == (128000, 128006, chars("u")[0])
    assert with_header.tokens[-len(bare.tokens) + 1 :] == bare.tokens[1:]
    assert len(with_header.tokens) > len(bare.tokens)


def test_a_border_between_steps_does_not_melt_into_the_step_before(tokenizers: Tokenizers) -> None:
    """Joined as strings, a full stop and the newlines after it would become one token."""
    assert tokenizers["llama3"].encode("2.\n\n") == [*chars("2"), 382]
    assert 382 not in RlhflowFormat(tokenizers["llama3"]).encode(QUESTION, STEPS).tokens
    assert tokenizers["qwen"].encode("2.\n") == [*chars("2"), 624]
    assert 624 not in SkyworkPrmFormat(tokenizers["qwen"]).encode(QUESTION, STEPS).tokens


def test_the_nutshells_tokenizer_suits_the_rlhflow_format(tmp_path: Path) -> None:
    write_nutshell_tokenizer(tmp_path)
    tokenizer = ChatTokenizer(tmp_path)
    format_ = RlhflowFormat(tokenizer)
    assert [tokenizer.decode([label]) for label in format_.labels] == ["+", "-"]
    encoded = format_.encode(QUESTION, STEPS)
    begin, user, assistant, end = (tokenizer.encode(f"<|{name}|>")[0] for name in ("begin", "user", "assistant", "end"))
    first = [begin, user, *tokenizer.encode(f"{QUESTION} {STEPS[0]}"), end, assistant]
    assert list(encoded.tokens[: len(first) + 3]) == [*first, format_.labels.plus, end, user]
    assert [encoded.tokens[position] for position in encoded.positions] == [assistant] * 3


# The outcome reward model


def test_outcome_is_one_turn_with_problem_and_whole_solution(tokenizers: Tokenizers) -> None:
    text = "One.\n\nTwo.\nThree."
    encoded = OutcomeFormat(tokenizers["llama3"]).encode(QUESTION, [text])
    assert encoded == RlhflowFormat(tokenizers["llama3"]).encode(QUESTION, [text])
    assert len(encoded.positions) == 1
    assert f"{QUESTION} {text}assistant" in tokenizers["llama3"].decode(encoded.tokens)


# Math-Shepherd


def test_math_shepherd_tags_every_step_with_12902(tokenizers: Tokenizers, tokenizer_folders: Folders) -> None:
    format_ = MathShepherdFormat(tokenizers["mistral"], separator="\n")
    encoded = format_.encode(QUESTION, STEPS)
    whole = published(tokenizer_folders["mistral"]).encode(f"{QUESTION} " + "\n".join(f"{step} {KI}" for step in STEPS))
    assert list(encoded.tokens) == whole
    assert encoded.positions == tuple(place for place, token in enumerate(whole) if token == 12902)
    assert format_.labels == (648, 387)
    assert encoded.num_prompt_tokens == len(published(tokenizer_folders["mistral"]).encode(QUESTION))


def test_math_shepherd_keeps_the_blank_lines_of_solutions_split_there(
    tokenizers: Tokenizers, tokenizer_folders: Folders
) -> None:
    encoded = MathShepherdFormat(tokenizers["mistral"], separator="\n\n").encode(QUESTION, STEPS)
    text = f"{QUESTION} " + f" {KI}\n\n".join(STEPS) + f" {KI}"
    assert list(encoded.tokens) == published(tokenizer_folders["mistral"]).encode(text)


def test_a_solution_that_brings_its_last_tag_gets_no_second_one(tokenizers: Tokenizers) -> None:
    format_ = MathShepherdFormat(tokenizers["mistral"], separator="\n")
    assert format_.encode(QUESTION, [*STEPS[:2], f"{STEPS[2]} {KI}"]) == format_.encode(QUESTION, STEPS)


# Qwen


def test_qwen_prm_ends_every_step_with_151651(tokenizers: Tokenizers, tokenizer_folders: Folders) -> None:
    encoded = QwenPrmFormat(tokenizers["qwen"]).encode(QUESTION, STEPS)
    tokenizer = published(tokenizer_folders["qwen"])
    messages = [
        {"role": "system", "content": "Please reason step by step, and put your final answer within \\boxed{}."},
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": "<extra_0>".join(STEPS) + "<extra_0>"},
    ]
    whole = tokenizer.encode(tokenizer.apply_chat_template(messages, tokenize=False))
    assert list(encoded.tokens) == whole[:-2]  # what follows the last score, <|im_end|> and a newline, is not needed
    assert encoded.positions == tuple(place for place, token in enumerate(whole) if token == 151651)
    assert encoded.tokens[encoded.num_prompt_tokens :][:5] == tuple(chars("First"))
    assert SYSTEM == messages[0]["content"]


# Skywork


@pytest.mark.parametrize("bos", [None, "<|endoftext|>"])
def test_skywork_prm_is_problem_newline_and_a_line_a_step(tmp_path: Path, bos: str | None) -> None:
    encoded = SkyworkPrmFormat(ChatTokenizer(write_qwen(tmp_path, bos=bos))).encode("2+2?", ["Two", "Four"])
    begin = [151643] if bos else []
    assert list(encoded.tokens) == [*begin, *chars("2+2?\n"), *chars("Two\n"), *chars("Four\n")]
    assert [encoded.tokens[position] for position in encoded.positions] == [198, 198]
    assert encoded.num_prompt_tokens == len(begin) + 5


def test_skywork_prm_makes_one_line_of_a_step_of_several(tokenizers: Tokenizers) -> None:
    format_ = SkyworkPrmFormat(tokenizers["qwen"])
    assert format_.encode("q", ["a\nb", "c"]) == format_.encode("q", ["a b", "c"])


# What does not fit


@pytest.mark.parametrize(("make", "vocabulary", "tag"), [
    (QwenPrmFormat, "llama3", "<extra_0>"),
    (lambda tokenizer: MathShepherdFormat(tokenizer, separator="\n"), "qwen", KI),
    (SkyworkPrmFormat, "mistral", r"\\n"),
])  # fmt: skip
def test_a_tokenizer_without_the_tags_is_refused(tokenizers: Tokenizers, make: Any, vocabulary: str, tag: str) -> None:
    with pytest.raises(UsageError, match=f"the tag '{tag}' as [0-9]+ tokens"):
        make(tokenizers[vocabulary])


def test_a_tokenizer_without_a_chat_template_is_refused(tokenizers: Tokenizers) -> None:
    with pytest.raises(CheckpointError, match="has no chat template"):
        RlhflowFormat(tokenizers["mistral"])


@pytest.mark.parametrize(("template", "message"), [
    ("{{ messages[0]['content'] }}", "does not write every turn once"),
    ("{% for m in messages %}{{ loop.index0 ~ m['content'] }}{% endfor %}", "every turn alike"),
    ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
])  # fmt: skip
def test_a_chat_template_that_does_not_lay_out_turns_is_refused(tmp_path: Path, template: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        RlhflowFormat(ChatTokenizer(write_llama3(tmp_path, template)))


def test_a_header_that_cannot_be_told_from_the_turns_must_stay(tmp_path: Path) -> None:
    template = "{% for m in messages %}{{ '<' + m['role'] + '>' + m['content'] }}{% endfor %}{{ 'The end.' }}"
    tokenizer = ChatTokenizer(write_llama3(tmp_path, template))
    assert len(RlhflowFormat(tokenizer).encode(QUESTION, STEPS).positions) == 3
    with pytest.raises(CheckpointError, match="its header must stay"):
        RlhflowFormat(tokenizer, system_header=False)
