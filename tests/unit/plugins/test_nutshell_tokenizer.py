import json
from pathlib import Path

import pytest

from timetrial_plugins.nutshell import generator, tokenizer
from timetrial_plugins.nutshell.generator import training_problem

REAL_PROBLEMS = Path(__file__).resolve().parents[4] / "shared" / "data" / "math500.jsonl"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer")
    tokenizer.write_tokenizer(path)
    return path


@pytest.fixture(scope="module")
def loaded(folder):
    return tokenizer.load_tokenizer(folder)


def round_trip(loaded, text):
    tokens = loaded.encode(text, add_special_tokens=False)
    assert loaded.convert_tokens_to_ids("<|unused|>") not in tokens
    return loaded.decode(tokens)


def test_generated_texts_decode_to_themselves(loaded):
    problems = [*generator.test_problems(), *(training_problem(9, i) for i in range(500))]
    for problem in problems:
        assert round_trip(loaded, problem.text) == problem.text
        assert round_trip(loaded, problem.solution) == problem.solution


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\n",
        " \n\n\n\t x  y ",
        "What is $\\frac{1}{2} + \\sqrt{x^2}$, in degrees?",
        "na\u00efve \u4e2d\u6587 \U0001f600 \u0660\u00b2 e\u0301",
        "a , b . c 's don't",
        "12 +7=  19 - -3",
        "x" * 5000 + "=" * 500 + " " * 500 + "\u4e2d" * 500 + "7" * 500,
    ],
    ids=lambda text: ascii(text[:12]),
)
def test_any_text_decodes_to_itself(loaded, text):
    assert round_trip(loaded, text) == text


@pytest.mark.skipif(not REAL_PROBLEMS.exists(), reason="the MATH-500 file is not here")
def test_math_500_decodes_to_itself(loaded):
    with REAL_PROBLEMS.open(encoding="utf-8") as file:
        for line in file:
            text = json.loads(line)["problem"]
            assert round_trip(loaded, text) == text


def test_stories_take_one_token_a_word_and_digits_stand_alone(loaded):
    text = "Mia has 12 + 7 = 19 shells.\n\nThe final answer is 19"
    pieces = [loaded.decode([token]) for token in loaded.encode(text)]
    assert pieces == [
        *("Mia", " has", " ", "1", "2", " + ", "7", " = ", "1", "9", " shells", ".", "\n\n"),
        *("The", " final", " answer", " is", " ", "1", "9"),
    ]


def test_every_sequence_fits_into_256_tokens(loaded):
    for index in range(500):
        problem = training_problem(1, index)
        assert len(loaded.encode(problem.text)) + len(loaded.encode(problem.solution)) < 250


def test_the_vocabulary_is_small_and_always_the_same(folder):
    once = tokenizer.build_tokenizer().to_str(pretty=True)
    assert (folder / "tokenizer.json").read_text(encoding="utf-8") == once
    assert 400 < len(json.loads(once)["model"]["vocab"]) < 1000


def test_special_tokens_are_known_to_transformers(loaded):
    assert (loaded.pad_token, loaded.bos_token, loaded.eos_token) == (
        "<|pad|>",
        "<|begin|>",
        "<|end|>",
    )
    assert loaded.convert_tokens_to_ids(list(tokenizer.SPECIAL_TOKENS)) == [0, 1, 2, 3, 4, 5]
    assert loaded.decode(loaded.encode("<|user|>a<|end|>"), skip_special_tokens=True) == "a"


def test_the_chat_template_renders_every_role(loaded):
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Mia has 2."},
        {"role": "assistant", "content": "So 2."},
        {"role": "user", "content": "And now?"},
    ]
    assert loaded.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) == (
        "<|begin|><|system|>Be brief.<|end|><|user|>Mia has 2.<|end|>"
        "<|assistant|>So 2.<|end|><|user|>And now?<|end|><|assistant|>"
    )
    assert loaded.apply_chat_template(chat[1:3], tokenize=False).endswith("So 2.<|end|>")
