"""The nutshell's tokenizer: whole words of the stories, single digits, and bytes for everything else.

Text is cut into words (with the space before them), operators (with both spaces), single digits and blank lines; each
piece is then matched greedily, longest first, against a fixed vocabulary that contains every byte. So any text encodes
without unknown tokens and decodes to itself, and a story takes about one token a word. Written in the files that
`transformers.AutoTokenizer` reads.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from timetrial_plugins.nutshell.generator import training_problem

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

PAD, BEGIN, SYSTEM, USER, ASSISTANT, END = SPECIAL_TOKENS = (
    *("<|pad|>", "<|begin|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
)
"""Ids 0 to 5, in this order."""

CHAT_TEMPLATE = (
    "{{ '<|begin|>' }}"
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)

MAX_LENGTH = 4096
"""Tokens the model accepts. It is trained on far shorter texts; foreign problems still run through."""

_PIECES = r" [-+*/=] |\n\n| ?\p{L}{1,16}| ?[^\s\p{L}\p{N}]{1,4}|\s|\p{N}"
"""Every piece is short, because greedy matching is quadratic in its length."""
_UNUSED = "<|unused|>"
_NUM_SAMPLED = 4000
"""Training problems whose words make the vocabulary: enough to meet all of them many times."""


def build_tokenizer() -> Tokenizer:
    """Build the tokenizer from the words of the generator; the same one every time."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

    bytes_to_text = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    cutter = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"), bytes_to_text])
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = sorted(_sampled_pieces(cutter) - set(alphabet))
    vocabulary = {token: i for i, token in enumerate([*SPECIAL_TOKENS, *alphabet, *words])}
    tokenizer = Tokenizer(
        models.WordPiece(
            vocabulary | {_UNUSED: len(vocabulary)},  # bytes cover everything, yet a name is required
            unk_token=_UNUSED,
            continuing_subword_prefix="",
        )
    )
    tokenizer.pre_tokenizer = cutter
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in SPECIAL_TOKENS])
    return tokenizer


def write_tokenizer(folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json into `folder`."""
    build_tokenizer().save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BEGIN,
        "eos_token": END,
        "pad_token": PAD,
        "additional_special_tokens": [SYSTEM, USER, ASSISTANT],
        "clean_up_tokenization_spaces": False,
        "model_max_length": MAX_LENGTH,
        "chat_template": CHAT_TEMPLATE,
    }
    text = json.dumps(settings, indent=2) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="ascii")


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Read the tokenizer back as `transformers` gives it to everyone else."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def _sampled_pieces(cutter: object) -> set[str]:
    pieces: set[str] = set()
    for index in range(_NUM_SAMPLED):
        problem = training_problem(0, index)
        for text in (problem.text, problem.solution):
            pieces.update(piece for piece, _ in cutter.pre_tokenize_str(text))  # type: ignore[attr-defined]
    return pieces
