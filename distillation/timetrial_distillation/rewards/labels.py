"""Solutions whose steps are labelled: what labels are, whoever made them.

A step is labelled by rollouts: of `rollouts` continuations from the end of the step, `right` ended with the right
answer. That is both kinds of label of Math-Shepherd (arXiv 2312.08935, section 3.3): hard, whether any did (equation
3), and soft, the share that did (equation 4). A label that a person or another model gave counts as one rollout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

LabelKind = Literal["hard", "soft"]
LABEL_KINDS: tuple[LabelKind, ...] = get_args(LabelKind)
Json = Mapping[str, Any]  # Any: JSON


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledSolution:
    """A solution in steps, and what became of each."""

    problem_id: str
    """Solutions of one problem share it."""
    problem: str
    """The problem's text."""
    steps: tuple[str, ...]
    right: tuple[int, ...]
    """Of each step, the rollouts from its end that ended right."""
    rollouts: tuple[int, ...]
    """Of each step, its rollouts: 1 or more. A last step has one, the solution itself."""
    truth: tuple[bool, ...] | None = None
    """Of each step, whether it and all before it are right; None if nobody knows."""

    def __post_init__(self) -> None:
        """Refuse labels that do not fit the steps.

        Raises:
            ValueError: says what is wrong.
        """
        if not self.steps or not all(self.steps):
            raise ValueError(f"the steps are {self.steps!r:.60}: expected one or more, none of them empty")
        if not len(self.steps) == len(self.right) == len(self.rollouts) == len(self.truth or self.steps):
            raise ValueError(f"{len(self.steps)} steps have {len(self.right)} labels and {len(self.rollouts)} counts")
        if not all(0 <= right <= tried and tried > 0 for right, tried in zip(self.right, self.rollouts, strict=True)):
            raise ValueError(f"of {self.rollouts} rollouts {self.right} were right: expected 0 to as many as there are")

    @property
    def text(self) -> str:
        """The solution, its steps separated by blank lines."""
        return "\n\n".join(self.steps)

    @property
    def is_right(self) -> bool:
        """Whether the last step is labelled as right: whether the solution is, where it was labelled by rollouts."""
        return self.right[-1] > 0

    def targets(self, kind: LabelKind) -> tuple[float, ...]:
        """Return the share of "+" that each step is to be given."""
        shares = (right / tried for right, tried in zip(self.right, self.rollouts, strict=True))
        return tuple(shares if kind == "soft" else (float(share > 0) for share in shares))

    def to_json(self) -> Json:
        """Return the line that stands for it."""
        return asdict(self)
