"""Math-Shepherd's format: plain text in which a tag follows every step, and the verdict is read at the tag itself.

The tag is Cyrillic "ki" (token 12902 in Mistral's vocabulary), the verdicts are "+" (648) and "-" (387).
Source: Wang et al., arXiv 2312.08935, and the published checkpoint's card.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from timetrial.error import UsageError
from timetrial_plugins.rewards.formats.encoded import (
    Encoded,
    HeadKind,
    TextTokenizer,
    num_common,
    read_labels,
    single_token,
)
from timetrial_plugins.rewards.steps import MARKER


class MathShepherdFormat:
    """Question, a space, and the steps, each with a tag and followed by what separated it from the next."""

    name = "math-shepherd"
    head: HeadKind = "labels"

    def __init__(self, tokenizer: TextTokenizer, *, separator: str) -> None:
        """Find out the tokens; `separator` stands between a tag and the next step.

        Raises:
            UsageError: the tag, "+" or "-" is no single token.
        """
        self._tokenizer, self._separator = tokenizer, separator
        self.labels = read_labels(tokenizer)
        self._tag = single_token(tokenizer, MARKER)
        self._begin = tokenizer.encode(tokenizer.bos_token) if tokenizer.bos_token else []
        self._tagged = tokenizer.encode(MARKER)

    @property
    def facts(self) -> Mapping[str, object]:
        """The tokens of tag and labels."""
        return {"tag": self._tag, "labels": self.labels._asdict()}

    def encode(self, question: str, steps: Sequence[str]) -> Encoded:
        """Return the text's tokens; scores are read at the tags.

        A step that ends in a tag of its own, as those of models trained on such data do, gets no second one.
        """
        first, *others = (step.removesuffix(MARKER).rstrip() for step in steps)
        tokens = [*self._begin, *self._tokenizer.encode(f"{question.strip()} {first}"), self._tag]
        prompt = num_common(tokens, [*self._begin, *self._tokenizer.encode(question.strip())])
        positions = [len(tokens) - 1]
        for step in others:
            tokens += [*self._after_tag(self._separator + step), self._tag]
            positions.append(len(tokens) - 1)
        return Encoded(tuple(tokens), tuple(positions), prompt)

    def _after_tag(self, text: str) -> list[int]:
        """Return the tokens of text that follows a tag: by itself a tokenizer may put a space before it."""
        ids = self._tokenizer.encode(MARKER + text)
        if ids[: len(self._tagged)] != self._tagged:
            raise UsageError(
                f"this tokenizer joins the tag {MARKER!r} with the text after it ({text[:20]!r}): scores are read at "
                "tags, so they must be tokens by themselves"
            )
        return ids[len(self._tagged) :]
