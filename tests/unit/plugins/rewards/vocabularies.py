"""Tokenizers in the layout of published vocabularies: the ids that formats rest on, and single characters otherwise."""

from __future__ import annotations

from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

KI = "\u043a\u0438"
LLAMA3_TEMPLATE = (
    "{{ bos_token }}"
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content']|trim %}"
    "{% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}"
    "{{ '<|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\nToday Date: ' }}"
    "{{ strftime_now('%d %b %Y') + '\n\n' + system + '<|eot_id|>' }}"
    "{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content']|trim + '<|eot_id|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
CHATML_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_PIECES = (
    r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"  # Llama 3 and Qwen, about
)


def gpt2_bytes() -> dict[str, int]:
    """Return the ids of single bytes in the vocabularies that go back to GPT-2's: printable ones first."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    characters = [*map(chr, printable), *(chr(256 + number) for number in range(len(others)))]
    return {character: number for number, character in enumerate(characters)}


def _byte_level(merges: dict[tuple[str, str], int], special: dict[str, int]) -> Tokenizer:
    joined = {"".join(pair): number for pair, number in merges.items()}
    tokenizer = Tokenizer(models.BPE(vocab=gpt2_bytes() | joined | special, merges=list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    return tokenizer


def write_llama3(folder: Path, template: str | None = LLAMA3_TEMPLATE) -> Path:
    """Llama 3: "+" 10, "-" 12, two newlines 271, a full stop with them 382, headers 128000 and up."""
    special = {
        "<|begin_of_text|>": 128000,
        "<|end_of_text|>": 128001,
        "<|start_header_id|>": 128006,
        "<|end_header_id|>": 128007,
        "<|eot_id|>": 128009,
    }
    merges = {("\u010a", "\u010a"): 271, (".", "\u010a\u010a"): 382}
    tokenizer = _byte_level(merges, special)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", 128000)]
    )
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|begin_of_text|>", eos_token="<|eot_id|>")
    return _save(wrapped, folder, template)


def write_qwen(folder: Path, *, bos: str | None = None) -> Path:
    """Qwen 2.5: a newline 198, a full stop with it 624, the chat's marks 151644 and 151645, <extra_0> 151651."""
    special = {"<|endoftext|>": 151643, "<|im_start|>": 151644, "<|im_end|>": 151645, "<extra_0>": 151651}
    tokenizer = _byte_level({(".", "\u010a"): 624, ("\u010a", "\u010a"): 271}, special)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", bos_token=bos)
    return _save(wrapped, folder, CHATML_TEMPLATE)


def write_mistral(folder: Path) -> Path:
    """Mistral 7B: a space begins every text; "-" 387, "+" 648, the tag 12902, bytes from 3."""
    space = "\u2581"
    letters = "".join(chr(code) for code in range(33, 127)) + KI
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2} | {f"<0x{byte:02X}>": 3 + byte for byte in range(256)}
    vocab |= {space: 28705} | {letter: 28706 + number for number, letter in enumerate(letters)}
    vocab |= {f"{space}-": 387, f"{space}+": 648, KI: 20000, f"{space}{KI}": 12902, f"{space}{space}": 259}
    merges = [(KI[0], KI[1]), (space, KI), (space, "-"), (space, "+"), (space, space)]
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(space), normalizers.Replace(" ", space)])
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace(space, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)
    ])  # fmt: skip
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in ("<unk>", "<s>", "</s>")])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    return _save(wrapped, folder, None)


def _save(tokenizer: PreTrainedTokenizerFast, folder: Path, template: str | None) -> Path:
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return folder
