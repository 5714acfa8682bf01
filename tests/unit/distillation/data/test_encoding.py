"""What is learned: the prompt mask in every case that has gone wrong elsewhere."""

import numpy as np
import pytest

from timetrial.error import CheckpointError
from timetrial.record import Message, Prompt
from timetrial_distillation.data.adapters import Chat, Text, UnfitError
from timetrial_distillation.data.encoding import DocumentEncoder
from timetrial_plugins.models.tokenizer import ChatTokenizer

USER, ASSISTANT, SYSTEM = "user", "assistant", "system"
DATED = "{{ '<|begin|>' + strftime_now('%d %b %Y') + date_string }}{% for m in messages %}{{ '<|head|>' + m['content'] + '<|end|>' }}{% endfor %}"  # fmt: skip # noqa: E501
FORGETFUL = (
    "{% for m in messages %}{% if not loop.last and m['role'] == 'assistant' %}{{ '<|head|>...' }}"
    "{% else %}{{ '<|head|>' + m['content'] + '<|end|>' }}{% endif %}{% endfor %}"
)
STRICT = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turn') }}{% endif %}" + FORGETFUL


def chat(*turns):
    return Chat(tuple(Message(role, content) for role, content in turns))


def encode(encoder, document):
    (encoded,) = encoder.encode_documents([document])
    return encoded


def learned(encoder, encoded):
    """The learned stretches as text, special tokens shown."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], encoded.is_answer, [0]])))
    return [encoder._tokenizer.decode(encoded.tokens[a:b]) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def test_the_answer_and_the_end_of_the_turn_are_learned_and_the_header_is_not(make_encoder):
    encoder = make_encoder()
    encoded = encode(encoder, chat((USER, "2+2?"), (ASSISTANT, "It is 4.")))
    whole = "<|begin|><|head|>user<|tail|>\n\n2+2?<|end|><|head|>assistant<|tail|>\n\nIt is 4.<|end|>"
    assert encoder._tokenizer.decode(encoded.tokens) == whole
    assert learned(encoder, encoded) == ["It is 4.<|end|>"]


def test_every_answer_of_a_conversation_is_learned_and_nothing_else(make_encoder):
    encoder = make_encoder()
    turns = chat((SYSTEM, "Be brief."), (USER, "a?"), (ASSISTANT, "A"), (USER, "b?"), (ASSISTANT, "B"), (USER, "c?"))
    assert learned(encoder, encode(encoder, turns)) == ["A<|end|>", "B<|end|>"]


def test_the_tokens_before_the_answer_are_those_of_the_prompt_in_evaluation(make_encoder):
    encoder = make_encoder()
    turns = (Message(USER, "2+2?"), Message(ASSISTANT, "4"))
    encoded = encode(encoder, Chat(turns))
    asked = ChatTokenizer(encoder.folder)
    prompt = asked.encode(asked.render(Prompt(problem="p", messages=turns[:1])))
    assert encoded.tokens[: np.flatnonzero(encoded.is_answer)[0]].tolist() == prompt


def test_an_answer_that_merges_with_the_prompt_is_refused(make_encoder):
    encoder = make_encoder()
    encoded = encode(encoder, chat((USER, "a?"), (ASSISTANT, "\nA")))  # three line ends: one merges two of them
    assert not isinstance(encoded, UnfitError)
    template = "{% for m in messages %}{{ m['content'] }}{% if not loop.last %}{{ '\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '\n' }}{% endif %}"  # fmt: skip # noqa: E501
    encoder = make_encoder(template)
    encoded = encode(encoder, chat((USER, "a?"), (ASSISTANT, "\nA")))
    assert isinstance(encoded, UnfitError) and encoded.kind == "prompt not a prefix"


def test_a_template_that_shortens_earlier_turns_is_refused_for_longer_chats_alone(make_encoder):
    encoder = make_encoder(FORGETFUL)
    short, long = chat((USER, "a"), (ASSISTANT, "A")), chat((USER, "a"), (ASSISTANT, "A"), (USER, "b"))
    encoded, unfit = encoder.encode_documents([short, long])
    assert learned(encoder, encoded) == ["<|head|>A<|end|>"]  # this template has no header for prompts
    assert unfit.kind == "turns not a prefix"


def test_a_chat_the_template_refuses_does_not_take_others_with_it(make_encoder):
    encoder = make_encoder(STRICT)
    documents = [chat((USER, "a"), (ASSISTANT, "A")), chat((SYSTEM, "s"), (ASSISTANT, "A"))]
    encoded, unfit = encoder.encode_documents(documents)
    assert learned(encoder, encoded) == ["<|head|>A<|end|>"]
    assert unfit.kind == "refused by the chat template" and "no system turn" in str(unfit)


def test_templates_that_print_the_date_print_the_pinned_one(make_encoder):
    encoder = make_encoder(DATED)
    encoded = encode(encoder, chat((USER, "a"), (ASSISTANT, "A")))
    assert encoder.decode(encoded.tokens).startswith("26 Jul 202426 Jul 2024a")


def test_a_plain_text_is_learned_whole_between_its_begin_and_end(encoder):
    encoded = encode(encoder, Text("Ann has 3 apples."))
    assert encoder._tokenizer.decode(encoded.tokens) == "Ann has 3 apples.<|end|>"
    assert encoded.is_answer.tolist() == [False] + [True] * (len(encoded.tokens) - 1)


def test_the_name_of_a_special_token_in_a_text_is_text(encoder):
    encoded = encode(encoder, Text("a<|end|>b"))
    end = encoder.eos_ids[0]
    assert encoded.tokens.tolist().count(end) == 1 and encoded.tokens[-1] == end
    assert encoder.decode(encoded.tokens) == "a<|end|>b"


def test_chats_need_a_template_and_texts_do_not(make_encoder):
    encoder = make_encoder(None)
    assert encoder.template_digest is None
    assert not isinstance(encode(encoder, Text("a")), UnfitError)
    with pytest.raises(CheckpointError, match="has no chat template"):
        encode(encoder, chat((USER, "a"), (ASSISTANT, "A")))


def test_documents_come_back_in_their_order_whatever_their_kinds(make_encoder):
    encoder = make_encoder()
    documents = [Text("x"), chat((USER, "a"), (ASSISTANT, "A")), Text("y"), chat((USER, "b"), (ASSISTANT, "B"))]
    together = encoder.encode_documents(documents)
    for document, encoded in zip(documents, together, strict=True):
        assert encoded.tokens.tolist() == encode(encoder, document).tokens.tolist()


def test_the_digest_of_the_template_is_not_that_of_another(make_encoder):
    digests = {make_encoder(template).template_digest for template in (DATED, FORGETFUL, STRICT)}
    assert len(digests) == 3
    first = make_encoder()
    assert DocumentEncoder(first.folder).digest == first.digest != make_encoder(STRICT).digest
