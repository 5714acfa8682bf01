import pytest
import torch
from torch.nn import functional

from timetrial.error import UnknownNameError
from timetrial_distillation.data.rows import IGNORED
from timetrial_distillation.objectives.step_labels import STEP_LOSSES, StepLabels

PLUS, MINUS = 7, 11


@pytest.fixture
def labelled(rows):
    """The rows with "+" for a label, and shares."""
    places = rows.labels != IGNORED
    shares = torch.rand(rows.labels.shape, generator=torch.Generator().manual_seed(3))
    return rows._replace(labels=torch.where(places, PLUS, IGNORED), shares=torch.where(places, shares, 0.0))


@pytest.fixture
def take(part):
    def take_with_shares(rows, which):
        return part(rows, which)._replace(shares=rows.shares[which])

    return take_with_shares


def plainly(model, rows):
    """Return both losses from whole logits."""
    places = rows.labels != IGNORED
    logits, t = model.logits(rows.tokens, rows.doc_ids)[places], rows.shares[places]
    found = torch.log_softmax(logits, -1)
    vocabulary = -(t * found[:, PLUS] + (1 - t) * found[:, MINUS]).sum()
    difference = logits[:, PLUS] - logits[:, MINUS]
    pair = functional.binary_cross_entropy_with_logits(difference, t, reduction="sum")
    return {"pair": pair, "vocabulary": vocabulary}


@pytest.mark.parametrize("loss", STEP_LOSSES)
@pytest.mark.parametrize("tied", [True, False])
def test_value_and_gradients_are_those_of_the_definition(make_teacher, labelled, loss, tied):
    model, plain = (make_teacher(tied=tied, dtype=torch.float64) for _ in range(2))
    labelled = labelled._replace(shares=labelled.shares.double())
    parts = StepLabels(plus=PLUS, minus=MINUS, loss=loss).backward(model, labelled, 0.5)
    expected = plainly(plain, labelled)[loss]
    (expected / 2).backward()
    assert parts.loss_sum.item() == pytest.approx(expected.item(), rel=1e-9)
    for (name, found), wanted in zip(model.named_parameters(), plain.parameters(), strict=True):
        assert torch.allclose(found.grad, wanted.grad, atol=1e-9), name


def test_the_losses_differ_by_the_mass_of_both_tokens(make_teacher, labelled):
    model = make_teacher()
    losses = plainly(model, labelled)
    logits = model.logits(labelled.tokens, labelled.doc_ids)[labelled.labels != IGNORED]
    mass = torch.log_softmax(logits, -1)[:, [PLUS, MINUS]].logsumexp(-1).sum()
    assert losses["vocabulary"].item() == pytest.approx((losses["pair"] - mass).item(), rel=1e-5)


def test_gradients_do_not_depend_on_how_rows_are_split(make_teacher, labelled, take, gradients):
    objective = StepLabels(plus=PLUS, minus=MINUS)
    whole = gradients(objective, make_teacher(), labelled)
    parts = gradients(objective, make_teacher(), take(labelled, slice(0, 1)), take(labelled, slice(1, 3)))
    assert all(torch.allclose(whole[name], parts[name], atol=1e-6) for name in whole)


def test_checkpointing_changes_nothing(make_teacher, labelled, gradients):
    plain, again = (
        gradients(StepLabels(plus=PLUS, minus=MINUS, checkpointing=checkpointing), make_teacher(), labelled)
        for checkpointing in (False, True)
    )
    assert all(torch.allclose(plain[name], again[name], atol=1e-6) for name in plain)


def test_rows_without_a_step_give_zero(make_teacher, labelled):
    empty = labelled._replace(labels=torch.full_like(labelled.labels, IGNORED))
    objective = StepLabels(plus=PLUS, minus=MINUS)
    assert objective.count(empty) == 0
    assert objective.backward(make_teacher(), empty, 1.0).loss_sum.item() == 0


def test_the_accuracy_is_the_share_of_steps_that_a_half_tells_apart(make_teacher, labelled):
    model = make_teacher()
    objective = StepLabels(plus=PLUS, minus=MINUS)
    places = labelled.labels != IGNORED
    logits = model.logits(labelled.tokens, labelled.doc_ids)[places]
    told = (logits[:, PLUS] > logits[:, MINUS]) == (labelled.shares[places] > 0.5)
    assert objective.measure(model, labelled).metrics["accuracy"].item() == told.sum().item()


def test_an_unknown_loss_is_refused():
    with pytest.raises(UnknownNameError, match="did you mean 'pair'"):
        StepLabels(plus=PLUS, minus=MINUS, loss="pairs")
