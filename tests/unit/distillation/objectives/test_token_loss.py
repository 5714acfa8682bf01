"""The closed forms equal plain autograd, and both equal sums written down by hand."""

import math

import pytest
import torch

from timetrial.error import UnknownNameError, UsageError
from timetrial_distillation.objectives.token_loss import TokenLoss, dense_loss, evaluate

P, Q = (0.7, 0.2, 0.1), (0.25, 0.25, 0.5)
LOSSES = [
    TokenLoss(divergence="reverse"),
    TokenLoss(divergence="forward"),
    TokenLoss(divergence="jsd", beta=0.3),
    TokenLoss(divergence="jsd", beta=0),
    TokenLoss(divergence="jsd", beta=1),
    TokenLoss(divergence="reverse", temperature=2.5),
    TokenLoss(divergence="forward", temperature=0.5),
    TokenLoss(divergence="jsd", beta=0.9, temperature=3.0),
    TokenLoss(divergence="reverse", kl_weight=0.3, temperature=2.0),
    TokenLoss(divergence="jsd", kl_weight=0.6),
    TokenLoss(kl_weight=0),
]


def kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def logits(probabilities):
    """One place, and a constant that a softmax does not see."""
    return torch.tensor([probabilities], dtype=torch.float64).log() + 3


def draw(places=5, vocabulary=7, dtype=torch.float64, scale=3.0):
    generator = torch.Generator().manual_seed(0)
    student, teacher = (
        scale * torch.randn(places, vocabulary, generator=generator, dtype=torch.float64) for _ in range(2)
    )
    return student.to(dtype), teacher.to(dtype), torch.randint(vocabulary, (places,), generator=generator)


@pytest.mark.parametrize("function", [dense_loss, evaluate])
@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (TokenLoss(divergence="reverse"), kl(P, Q)),
        (TokenLoss(divergence="forward"), kl(Q, P)),
        (
            TokenLoss(divergence="jsd", beta=0.25),
            0.25 * kl(Q, [0.25 * q + 0.75 * p for p, q in zip(P, Q, strict=True)])
            + 0.75 * kl(P, [0.25 * q + 0.75 * p for p, q in zip(P, Q, strict=True)]),
        ),
        (TokenLoss(divergence="jsd", beta=0), kl(Q, P)),
        (TokenLoss(divergence="jsd", beta=1), kl(P, Q)),
        (TokenLoss(kl_weight=0), -math.log(0.2)),
        (TokenLoss(kl_weight=0.4), 0.4 * kl(P, Q) - 0.6 * math.log(0.2)),
    ],
)
def test_the_loss_is_the_sum_written_down_by_hand(function, loss, expected):
    outcome = function(loss, logits(P), logits(Q), torch.tensor([1]))
    sums = outcome.sums if function is evaluate else outcome
    assert sums.loss.item() == pytest.approx(expected, abs=1e-12)


def test_a_temperature_softens_both_sides_and_its_square_makes_up_for_it():
    softened = [[x**0.5 / sum(y**0.5 for y in side) for x in side] for side in (P, Q)]
    sums = dense_loss(TokenLoss(temperature=2), logits(P), logits(Q), None)
    assert sums.loss.item() == pytest.approx(4 * kl(*softened), abs=1e-12)


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_the_closed_forms_equal_autograd(loss, dtype, tolerance):
    student, teacher, labels = draw(dtype=dtype)
    leaf = student.clone().requires_grad_()
    expected = dense_loss(loss, leaf, teacher, labels)
    expected.loss.backward()
    evaluation = evaluate(loss, student, teacher, labels)
    torch.testing.assert_close(evaluation.gradient, leaf.grad, rtol=tolerance, atol=tolerance)
    for ours, theirs in zip(evaluation.sums, expected, strict=True):
        torch.testing.assert_close(ours, theirs.detach(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("loss", LOSSES[:8], ids=str)
def test_a_student_equal_to_its_teacher_has_no_divergence_and_no_gradient(loss):
    student, _, _ = draw()
    evaluation = evaluate(loss, student.clone(), student.clone(), None)
    assert abs(evaluation.sums.loss.item()) < 1e-12
    assert evaluation.gradient.abs().max() < 1e-12


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_logits_far_apart_give_finite_numbers(loss):
    student, teacher, labels = draw(dtype=torch.float32, scale=3e3)
    evaluation = evaluate(loss, student, teacher, labels)
    assert evaluation.sums.loss.isfinite() and evaluation.gradient.isfinite().all()


@pytest.mark.parametrize("values", [{"temperature": 0}, {"temperature": math.inf}, {"beta": 1.5}, {"kl_weight": -0.1}])
def test_numbers_that_are_no_loss_are_refused_by_name(values):
    with pytest.raises(UsageError, match=next(iter(values))):
        TokenLoss(**values)


def test_an_unknown_divergence_is_refused_with_the_closest():
    with pytest.raises(UnknownNameError, match="reverse"):
        TokenLoss(divergence="revers")
