"""What of a completion may hold the answer: neither what was thought nor what comes after the turn's end."""

from __future__ import annotations

import re

_END_OF_TURN = re.compile(
    r"<(?:\|(?:im_end|eot_id|eom_id|endoftext|end_of_text|end)\|>|/s>|eos>|end_of_turn>"
    r"|\|im_start\|>\s*(?:user|system)|\|start_header_id\|>\s*(?:user|system)"
    r"|\uff5cend\u2581of\u2581sentence\uff5c>)"
)


def spoken(text: str) -> str:
    """Return what a completion says, without its thinking blocks and without further turns.

    A block that was never closed hides all that follows; a closing tag without an opening one, all that precedes
    (chat templates write the opening tag into the prompt). What a model only thought it did not answer.
    """
    text = _first_turn(text)
    closing = text.rfind("</think")
    if closing >= 0:
        text = text[closing:].partition(">")[2]
    return text.partition("<think")[0] if text.rfind("<think") >= 0 else text  # rfind finds nothing in half the time


def _first_turn(text: str) -> str:
    """Cut a text at the first end of a turn in which something was said."""
    begin = 0
    while (end := _END_OF_TURN.search(text, begin)) is not None:
        if text[begin : end.start()].strip():
            return text[begin : end.start()]
        begin = end.end()
    return text[begin:]
