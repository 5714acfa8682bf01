"""The tokenizer: exact text in both directions, and prompts rendered the same way on every day."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from timetrial.error import CheckpointError
from timetrial.record import Message, Prompt
from timetrial_plugins.models.tokenizer import ChatTokenizer

WriteTokenizer = Callable[..., Path]
BOS = 256
PROMPT = Prompt(problem="7", messages=(Message("system", "Be brief."), Message("user", "What is 2 + 3?")))


@pytest.fixture
def write(write_tokenizer: WriteTokenizer, tmp_path: Path) -> Callable[..., ChatTokenizer]:
    return lambda *args, **options: ChatTokenizer(write_tokenizer(tmp_path, *args, **options))


def test_the_chat_template_is_applied_up_to_the_models_turn(write: Callable[..., ChatTokenizer]) -> None:
    assert write().render(PROMPT) == "<|begin|>system: Be brief.\nuser: What is 2 + 3?\nassistant:"


@pytest.mark.parametrize("template", [{}, {"chat_template": None}])
def test_what_the_models_turn_starts_with_comes_last_as_it_is(
    write: Callable[..., ChatTokenizer], template: dict[str, None]
) -> None:
    tokenizer = write(**template)
    started = replace(PROMPT, start=" First, 2 \n\n")
    assert tokenizer.render(started) == tokenizer.render(PROMPT) + " First, 2 \n\n"


def test_a_rendered_prompt_begins_with_exactly_one_bos(write: Callable[..., ChatTokenizer]) -> None:
    tokenizer = write(adds_bos=True)
    tokens = tokenizer.encode(tokenizer.render(PROMPT))
    assert tokens[0] == BOS and tokens.count(BOS) == 1


def test_a_plain_prompt_is_what_a_model_without_a_template_reads(write: Callable[..., ChatTokenizer]) -> None:
    prompt = replace(PROMPT, plain="Q: 2 + 3?\nA:")
    assert write(chat_template=None).render(prompt) == "<|begin|>Q: 2 + 3?\nA:"
    assert write().render(prompt) == write().render(PROMPT)


@pytest.mark.parametrize("adds_bos", [True, False])
def test_without_a_template_turns_are_joined_by_blank_lines_and_bos_is_the_tokenizers_choice(
    write: Callable[..., ChatTokenizer], adds_bos: bool
) -> None:
    tokenizer = write(chat_template=None, adds_bos=adds_bos)
    assert not tokenizer.has_chat_template
    rendered = tokenizer.render(PROMPT)
    assert rendered == ("<|begin|>" if adds_bos else "") + "Be brief.\n\nWhat is 2 + 3?\n\n"
    assert tokenizer.encode(rendered).count(BOS) == adds_bos


@pytest.mark.parametrize("template", [
    "{{ date_string if date_string is defined else strftime_now('%d %b %Y') }}",
    "{{ strftime_now('%d %b %Y') }}",
    "{% if strftime_now is defined %}{% set now = strftime_now(\"%d %b %Y\") %}{{ now }}{% endif %}",
])  # fmt: skip
def test_the_date_in_a_template_is_pinned(write: Callable[..., ChatTokenizer], template: str) -> None:
    assert write(chat_template=template).render(PROMPT) == "26 Jul 2024"


def test_a_template_may_ask_for_the_date_in_several_formats(write: Callable[..., ChatTokenizer]) -> None:
    template = "{{ strftime_now('%Y-%m-%d') }} {{ strftime_now('%B') }} {{ messages[0]['content'] }}"
    assert write(chat_template=template).render(PROMPT) == "2024-07-26 July Be brief."


def test_a_template_that_refuses_the_turns_is_an_error_with_its_reason(write: Callable[..., ChatTokenizer]) -> None:
    tokenizer = write(chat_template="{{ raise_exception('System role not supported') }}")
    with pytest.raises(CheckpointError, match="refuses the prompt of '7': System role not supported"):
        tokenizer.render(PROMPT)


@pytest.mark.parametrize("text", ["a , b .", " leading and trailing ", "don 't", "x  =  1\n\n\ty", "caf\u00e9 \u221a2"])
def test_text_survives_encoding_and_decoding_to_the_letter(write: Callable[..., ChatTokenizer], text: str) -> None:
    tokenizer = write()
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_special_tokens_are_left_out_of_text(write: Callable[..., ChatTokenizer]) -> None:
    tokenizer = write()
    assert tokenizer.decode([BOS, *tokenizer.encode("ab"), *tokenizer.eos_ids]) == "ab"
    assert tokenizer.eos_ids == (257,)


def test_a_folder_without_tokenizer_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(CheckpointError, match=r"(?s)no usable tokenizer.*tokenizer\.json"):
        ChatTokenizer(tmp_path)


def test_text_is_what_transformers_makes_of_the_tokens(write: Callable[..., ChatTokenizer]) -> None:
    tokenizer = write()
    wrapper = AutoTokenizer.from_pretrained(tokenizer.folder)
    tokens = tokenizer.encode("It is 3 , and 4 . Isn't it ?")
    for some in (tokens, [*tokens, *tokenizer.eos_ids, *tokens], tokens[:1], []):
        expected = wrapper.decode(some, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert tokenizer.decode(some) == expected


@pytest.fixture(scope="module")
def byte_tokenizer(write_tokenizer: WriteTokenizer, tmp_path_factory: pytest.TempPathFactory) -> ChatTokenizer:
    return ChatTokenizer(write_tokenizer(tmp_path_factory.mktemp("tokenizer")))


@given(st.lists(st.integers(0, 257) | st.text(max_size=3) | st.sampled_from(["\u221a", "\ufffd"])))
def test_text_is_that_of_all_tokens_together_however_characters_are_spread_over_them(
    byte_tokenizer: ChatTokenizer, parts: list[int | str]
) -> None:
    tokens = [token for part in parts for token in ([part] if isinstance(part, int) else byte_tokenizer.encode(part))]
    assert byte_tokenizer.decode(tokens) == byte_tokenizer._backend.decode(tokens, skip_special_tokens=True)


def test_a_family_that_transformers_does_not_know_is_no_reason_for_a_warning(
    write: Callable[..., ChatTokenizer], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = write()
    (known.folder / "config.json").write_text('{"model_type": "llamba", "tie_word_embeddings": true}')
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    again = ChatTokenizer(known.folder)
    assert caplog.messages == []
    assert again.encode("hello world") == known.encode("hello world")
