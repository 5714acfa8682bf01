"""What a student's logits cost at one place: their divergence from a teacher's, a label's cross-entropy, or a mixture.

    s, t        logits of student and teacher
    lp, lq      log softmax of s / tau and of t / tau;  p, q = exp(lp), exp(lq)
    reverse     KL(p | q) = sum p (lp - lq)
                d/ds = p ((lp - lq) - KL) / tau
    forward     KL(q | p) = sum q (lq - lp)
                d/ds = (p - q) / tau
    jsd         beta KL(q | m) + (1 - beta) KL(p | m)  with  m = beta q + (1 - beta) p
                d/ds = (1 - beta) p ((lp - lm) - KL(p | m)) / tau
    the loss    w tau^2 divergence + (1 - w) cross-entropy of s at tau = 1

At beta 0 and 1 the jsd is 0; the name then stands for the forward and the reverse divergence, to which it tends there
when divided by beta and by 1 - beta.
References: Hinton et al., arXiv 1503.02531 (tau^2); Agarwal et al., arXiv 2306.13649 (the generalised JSD).
Shapes: N places, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn import functional

from timetrial.error import UnknownNameError, UsageError

Divergence = Literal["reverse", "forward", "jsd"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenLoss:
    """Which loss."""

    divergence: Divergence = "reverse"
    """Of the student's distribution from the teacher's."""
    beta: float = 0.5
    """The teacher's share in the middle distribution of "jsd"."""
    temperature: float = 1.0
    """tau: what both sides' logits are divided by in the divergence, which is multiplied by its square."""
    kl_weight: float = 1.0
    """w: the divergence's share; the rest is cross-entropy. 0: fine-tuning without a teacher."""

    def __post_init__(self) -> None:
        """Refuse what is no loss.

        Raises:
            UsageError: names the field.
        """
        if self.divergence not in get_args(Divergence):
            raise UnknownNameError("divergence", str(self.divergence), get_args(Divergence))
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise UsageError(f"temperature is {self.temperature}; expected a number above 0")
        for name in ("beta", "kl_weight"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} is {getattr(self, name)}; expected a number from 0 to 1")

    @property
    def needs_teacher(self) -> bool:
        """Whether a teacher's logits are asked for."""
        return self.kl_weight > 0

    @property
    def needs_labels(self) -> bool:
        """Whether labels are asked for."""
        return self.kl_weight < 1

    def weigh(self, divergence: Tensor, cross_entropy: Tensor) -> Tensor:
        """Return the loss from its parts."""
        return self.kl_weight * divergence + (1 - self.kl_weight) * cross_entropy

    @property
    def kind(self) -> Divergence:
        """The divergence that is computed: "jsd" at its ends is another one."""
        if self.divergence == "jsd" and self.beta in (0, 1):
            return "reverse" if self.beta else "forward"
        return self.divergence


class TokenSums(NamedTuple):
    """Sums over places."""

    loss: Tensor  # ()
    divergence: Tensor  # () with tau^2, before the weight; 0 if nothing weighs it
    cross_entropy: Tensor  # () before the weight; 0 if nothing weighs it


class Evaluation(NamedTuple):
    """What the closed forms say."""

    sums: TokenSums
    gradient: Tensor  # (N, V) of the loss with respect to the student's logits


def dense_loss(config: TokenLoss, student: Tensor, teacher: Tensor | None, labels: Tensor | None) -> TokenSums:
    """Return the sums for logits (N, V) and labels (N,) by plain differentiable operations, the oracle."""
    divergence = cross_entropy = student.new_zeros(())
    if config.needs_teacher:
        assert teacher is not None
        tau = config.temperature
        divergence = tau**2 * _dense_divergence(config, *(torch.log_softmax(x / tau, -1) for x in (student, teacher)))
    if config.needs_labels:
        assert labels is not None
        cross_entropy = functional.cross_entropy(student, labels, reduction="sum")
    return TokenSums(config.weigh(divergence, cross_entropy), divergence, cross_entropy)


def _dense_divergence(config: TokenLoss, lp: Tensor, lq: Tensor) -> Tensor:
    if config.kind == "reverse":
        return functional.kl_div(lq, lp, reduction="sum", log_target=True)
    if config.kind == "forward":
        return functional.kl_div(lp, lq, reduction="sum", log_target=True)
    lm = _log_middle(config.beta, lp, lq)
    of_teacher, of_student = (functional.kl_div(lm, side, reduction="sum", log_target=True) for side in (lq, lp))
    return config.beta * of_teacher + (1 - config.beta) * of_student


def evaluate(config: TokenLoss, student: Tensor, teacher: Tensor | None, labels: Tensor | None) -> Evaluation:
    """Do what `dense_loss` does and what its gradient would, by the closed forms; the logits (N, V) are overwritten.

    At most one tensor of their shape is allocated beside them, two with "jsd" or a mixture.
    """
    divergence = cross_entropy = student.new_zeros(())
    gradient = None
    if config.needs_labels:
        assert labels is not None
        cross_entropy, gradient = _cross_entropy(student, labels)
        gradient *= 1 - config.kl_weight
    if config.needs_teacher:
        assert teacher is not None
        divergence, its_gradient = _divergence(config, student, teacher)
        its_gradient *= config.kl_weight
        gradient = its_gradient if gradient is None else gradient.add_(its_gradient)
    assert gradient is not None
    return Evaluation(TokenSums(config.weigh(divergence, cross_entropy), divergence, cross_entropy), gradient)


def _cross_entropy(student: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    lp = torch.log_softmax(student, -1)
    column = labels[:, None]
    value = -lp.gather(1, column).sum()
    return value, lp.exp_().scatter_add_(1, column, lp.new_full(column.shape, -1.0))


def _divergence(config: TokenLoss, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Return the divergence with tau^2 and its gradient; each line frees or reuses what it can."""
    tau = config.temperature
    lq = _normalise(teacher, tau)
    lp = _normalise(student, tau)
    if config.kind == "forward":
        q = lq.exp()
        value = lq.sub_(lp).mul_(q).sum()
        gradient = lp.exp_().sub_(q)
    elif config.kind == "reverse":
        value, gradient = _from_student(lp, lq)
    else:
        beta = config.beta
        lm = _log_middle(beta, lp, lq)
        of_teacher = lq.exp().mul_(lq.sub_(lm)).sum()
        of_student, gradient = _from_student(lp, lm)
        value = beta * of_teacher + (1 - beta) * of_student
        gradient *= 1 - beta
    return tau**2 * value, gradient.mul_(tau)


def _from_student(lp: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Return KL(p | other) summed, and p ((lp - other) - KL); both inputs are overwritten."""
    surprise = other.neg_().add_(lp)
    p = lp.exp_()
    surprise *= p
    value = surprise.sum(-1, keepdim=True)  # (N, 1)
    return value.sum(), surprise.addcmul_(p, value, value=-1)


def _normalise(logits: Tensor, tau: float) -> Tensor:
    """Return log softmax of `logits` / `tau` in their place."""
    if tau != 1:
        logits /= tau
    return logits.sub_(logits.logsumexp(-1, keepdim=True))


def _log_middle(beta: float, lp: Tensor, lq: Tensor) -> Tensor:
    return torch.logaddexp(lp + math.log(1 - beta), lq + math.log(beta))
