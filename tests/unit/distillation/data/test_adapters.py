import pytest

from timetrial.error import UnknownNameError, UsageError
from timetrial_distillation.data.adapters import ADAPTERS, Chat, Text, UnfitError, find_adapter

OPEN_MATH = ("problem", "generated_solution", "expected_answer", "problem_source")
FINE_MATH = ("url", "fetch_time", "text", "token_count", "metadata", "score", "language")
OPEN_HERMES = ("custom_instruction", "topic", "conversations", "source", "category", "system_prompt", "id")


def read(name, record):
    return find_adapter(name, list(record)).read(record)


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        (OPEN_MATH, "problem-solution"),
        (FINE_MATH, "text"),
        (OPEN_HERMES, "conversations"),
        (("messages", "prompt"), "messages"),
        (("prompt", "response"), "prompt-response"),
    ],
)
def test_well_known_data_sets_are_recognised_by_their_columns(columns, name):
    assert find_adapter("auto", columns).name == name


def test_no_fitting_adapter_lists_what_was_found_and_what_was_expected():
    with pytest.raises(UsageError, match="no adapter fits.*problem, generated_solution.*columns question, answer"):
        find_adapter("auto", ("question", "answer"))


def test_several_fitting_adapters_are_left_to_the_user():
    with pytest.raises(UsageError, match="several adapters fit .messages: messages; text: text"):
        find_adapter("auto", ("messages", "text"))
    assert find_adapter("text", ("messages", "text")).name == "text"


def test_a_missing_column_offers_the_closest():
    with pytest.raises(UsageError, match="needs the column 'problem'; did you mean 'problems'"):
        find_adapter("problem-solution", ("problems", "generated_solution"))


def test_an_unknown_adapter_offers_the_closest():
    with pytest.raises(UnknownNameError, match="did you mean 'messages'"):
        find_adapter("message", ("messages",))


def test_each_shape_becomes_turns():
    turns = (("user", "Why?"), ("assistant", "So."))
    assert read("problem-solution", {"problem": "Why?", "generated_solution": "So."}) == Chat(turns)
    assert read("prompt-response", {"prompt": "Why?", "response": "So."}) == Chat(turns)
    spoken = [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]
    assert read("conversations", {"conversations": spoken}) == Chat(turns)
    written = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
    assert read("messages", {"messages": written}) == Chat(turns)
    assert read("text", {"text": " Why? "}) == Text(" Why? ")


@pytest.mark.parametrize(
    ("name", "record", "kind"),
    [
        ("text", {"text": None}, "empty"),
        ("text", {"text": " \n"}, "empty"),
        ("text", {"text": 3}, "malformed"),
        ("prompt-response", {"prompt": "a", "response": ""}, "empty"),
        ("messages", {"messages": []}, "empty"),
        ("messages", {"messages": "hello"}, "malformed"),
        ("messages", {"messages": [{"role": "tool", "content": "x"}]}, "malformed"),
        ("messages", {"messages": [{"role": "assistant"}]}, "empty"),
        ("conversations", {"conversations": [{"from": ["x"], "value": "x"}]}, "malformed"),
        ("conversations", {"conversations": [{"from": "human", "value": "x"}]}, "no answer"),
    ],
)
def test_records_that_make_no_document_say_why(name, record, kind):
    with pytest.raises(UnfitError) as caught:
        read(name, record)
    assert caught.value.kind == kind


def test_the_names_of_adapters_are_unique():
    assert len({adapter.name for adapter in ADAPTERS}) == len(ADAPTERS)
