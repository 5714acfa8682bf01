"""How a checkpoint says how it reads solutions, and what options a user may add."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from timetrial.error import CheckpointError, UnknownNameError, UsageError
from timetrial_plugins.rewards.declaration import DEFAULT_SPLITTERS, Declaration, read, write
from timetrial_plugins.rewards.published import DEFAULTS, PUBLISHED, ids_of, published_as
from timetrial_plugins.rewards.steps import MARKER, split_steps
from timetrial_plugins.rewards.wish import Wish, parse_wish

RLHFLOW = Declaration(format="rlhflow", splitter="blank-line")


def folder_with(tmp_path: Path, **config: object) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


@pytest.mark.parametrize("declaration", [
    RLHFLOW,
    Declaration(format="rlhflow", splitter="marker", system_header=False),
    Declaration(format="outcome", splitter="whole"),
])  # fmt: skip
def test_what_is_written_is_read_and_nothing_else_is_touched(tmp_path: Path, declaration: Declaration) -> None:
    folder = folder_with(tmp_path, model_type="llama", timetrial={"conventions": 1})
    write(folder, Declaration(format="rlhflow", splitter="newline"))
    write(folder, declaration)
    assert read(folder) == declaration
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "llama" and config["timetrial"]["conventions"] == 1


@pytest.mark.parametrize("config", [{}, {"timetrial": {}}, {"timetrial": {"conventions": 1}}])
def test_a_checkpoint_that_declares_nothing_says_so(tmp_path: Path, config: dict[str, object]) -> None:
    assert read(folder_with(tmp_path, **config)) is None


@pytest.mark.parametrize(("declared", "message"), [
    ("rlhflow", "expected an object with a splitter and a format"),
    ({"format": "rlhflow"}, "expected an object with a splitter and a format"),
    ({"format": "rlhflw", "splitter": "newline"}, "did you mean 'rlhflow'"),
    ({"format": "rlhflow", "splitter": "blank line"}, "did you mean 'blank-line'"),
    ({"format": "rlhflow", "splitter": "newline", "spliter": "newline"}, "unknown key 'spliter'"),
    ({"format": "rlhflow", "splitter": "newline", "system_header": "no"}, "system_header is 'no': expected a bool"),
    ({"format": "outcome", "splitter": "newline"}, "takes the whole solution"),
    ({"format": "qwen-prm", "splitter": "newline", "system_header": False}, "has no system header to leave out"),
])  # fmt: skip
def test_a_declaration_that_is_not_understood_is_refused(tmp_path: Path, declared: object, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        read(folder_with(tmp_path, timetrial={"reward": declared}))
    assert "config.json" in str(caught.value)


def test_a_folder_without_a_config_cannot_declare(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        write(tmp_path, RLHFLOW)


# Steps


@pytest.mark.parametrize(("splitter", "text", "steps"), [
    ("blank-line", "a\n\nb\n\n\n\n c\nd \n\n", ["a", "b", "c\nd"]),
    ("newline", "a\n\nb\n c \n", ["a", "b", "c"]),
    ("marker", f"Step 1: a {MARKER}\nStep 2: b\n\nc {MARKER}\n", ["Step 1: a", "Step 2: b\n\nc"]),
    ("marker", f"a {MARKER}\nb {MARKER}", ["a", f"b {MARKER}"]),  # as the published evaluation leaves it
    ("marker", f"a {MARKER}\n{MARKER}", ["a"]),
    ("whole", "\na\n\nb\n", ["a\n\nb"]),
    ("blank-line", " \n\n\n ", []),
    ("whole", "", []),
])  # fmt: skip
def test_steps_are_stripped_and_empty_ones_dropped(splitter: str, text: str, steps: list[str]) -> None:
    assert split_steps(text, splitter) == steps


# Options after a reference


def test_a_reference_may_carry_options() -> None:
    wish = parse_wish("org/name@main?splitter=marker&system-header=no&share-prompts=no&batch-tokens=512")
    assert wish.ref == "org/name@main"
    assert wish.declare(RLHFLOW) == Declaration(format="rlhflow", splitter="marker", system_header=False)
    assert wish.shares_prompts is False and wish.batch_tokens == 512


@pytest.mark.parametrize("text", [None, "", "?"])
def test_without_options_all_is_as_usual(text: str | None) -> None:
    wish = parse_wish(text)
    assert wish == Wish(ref=None)
    assert wish.declare(RLHFLOW) == RLHFLOW and wish.shares_prompts and wish.batch_tokens is None


@pytest.mark.parametrize(("text", "message"), [
    ("a?spliter=marker", "did you mean 'splitter'"),
    ("a?splitter", "expected splitter=VALUE, once"),
    ("a?splitter=marker&splitter=newline", "expected splitter=VALUE, once"),
])  # fmt: skip
def test_an_option_that_is_none_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_wish(text)


@pytest.mark.parametrize("value", ["0", "-1", "many", ""])
def test_a_batch_is_a_number_of_tokens(value: str) -> None:
    with pytest.raises(UsageError, match="expected a number of tokens"):
        _ = parse_wish(f"a?batch-tokens={value}").batch_tokens


@pytest.mark.parametrize("name", ["system-header", "share-prompts"])
def test_a_flag_is_yes_or_no(name: str) -> None:
    wish = parse_wish(f"a?{name}=maybe")
    with pytest.raises(UsageError, match=f"{name} is 'maybe': expected yes or no"):
        _ = wish.shares_prompts, wish.declare(RLHFLOW)


def test_an_unknown_splitter_is_refused_with_the_closest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'marker'"):
        parse_wish("a?splitter=marke").declare(RLHFLOW)


# The published ones


def test_every_format_has_published_reward_models_and_a_usual_splitter() -> None:
    assert {known.format for known in PUBLISHED} == set(DEFAULT_SPLITTERS)
    assert all(known.declaration.format == known.format for known in PUBLISHED)
    assert all(hub_id in ids_of(format_) for format_, hub_id in DEFAULTS.items())


def test_a_published_reward_model_is_known_at_any_revision() -> None:
    known = published_as("RLHFlow/Llama3.1-8B-PRM-Mistral-Data@abc")
    assert known is not None and known.declaration == RLHFLOW
    assert published_as("RLHFlow/Llama3.1-8B-PRM") is None
