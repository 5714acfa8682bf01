"""What holds for every stage: batches may be split, teachers may be rounded, and training lowers the loss."""

import pytest
import torch

from timetrial_distillation.objectives.end_to_end import EndToEnd
from timetrial_distillation.objectives.hidden_states import HiddenStateAlignment
from timetrial_distillation.objectives.orientation import MatrixOrientation
from timetrial_distillation.objectives.parameters import RowDecay, freeze_others, parameter_groups
from timetrial_distillation.objectives.token_loss import TokenLoss

STAGES = {
    "matrix-orientation": MatrixOrientation,
    "hidden-states": HiddenStateAlignment,
    "mixers": lambda teacher: HiddenStateAlignment(teacher=teacher, compare="mixers"),
    "end-to-end": EndToEnd,
    "all places": lambda teacher: EndToEnd(teacher=teacher, places="all", token_loss=TokenLoss(kl_weight=0.5)),
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("kind", ["llamba", "mamba2"])
def test_gradients_do_not_depend_on_the_split_into_batches(
    stage, kind, make_teacher, make_llamba, make_hybrid, rows, part, gradients
):
    teacher = make_teacher(dtype=torch.float64)
    student = make_llamba(teacher) if kind == "llamba" else make_hybrid(teacher, kind)
    objective = STAGES[stage](teacher=teacher)
    whole = gradients(objective, student, rows)
    assert any(gradient.any() for gradient in whole.values())
    for cuts in ([slice(0, 1), slice(1, 3)], [slice(0, 1), slice(1, 2), slice(2, 3)]):
        batches = [part(rows, which) for which in cuts]
        assert sum(map(objective.count, batches)) == objective.count(rows)
        for name, gradient in gradients(objective, student, *batches).items():
            torch.testing.assert_close(gradient, whole[name], rtol=1e-9, atol=1e-13, msg=name)


@pytest.mark.parametrize("stage", STAGES)
def test_measuring_gives_the_numbers_of_training_and_touches_no_gradient(stage, make_teacher, make_llamba, rows):
    teacher = make_teacher()
    student = make_llamba(teacher)
    objective = STAGES[stage](teacher=teacher)
    freeze_others(student, objective.trained(student))
    measured = objective.measure(student, rows)
    assert all(parameter.grad is None for parameter in student.parameters())
    trained = objective.backward(student, rows, 0.01)
    torch.testing.assert_close(measured, trained)
    assert not trained.loss_sum.requires_grad
    assert not any(metric.requires_grad for metric in trained.metrics.values())


@pytest.mark.parametrize("stage", STAGES)
def test_a_bfloat16_teacher_serves_a_float32_student(stage, make_teacher, make_llamba, rows):
    exact = make_teacher()
    student = make_llamba(exact)
    losses = [
        STAGES[stage](teacher=teacher).measure(student, rows).loss_sum
        for teacher in (exact, make_teacher(dtype=torch.bfloat16))
    ]
    assert losses[1].dtype == torch.float32
    assert losses[1].item() == pytest.approx(losses[0].item(), rel=0.05)


@pytest.mark.parametrize("stage", STAGES)
def test_under_autocast_gradients_are_float32_and_nearly_those_without(stage, make_teacher, make_llamba, rows):
    teacher = make_teacher()
    student = make_llamba(teacher)
    objective = STAGES[stage](teacher=teacher)
    freeze_others(student, trained := objective.trained(student))
    sides = []
    for is_on in (False, True):
        student.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_on):
            objective.backward(student, rows, 0.01)
        gradients = [student.get_parameter(name).grad for name in trained]
        assert all(gradient.dtype == torch.float32 for gradient in gradients)
        sides.append(torch.cat([gradient.flatten() for gradient in gradients]))
    assert not torch.equal(*sides)
    assert (sides[1] - sides[0]).norm() / sides[0].norm() < 0.15


@pytest.mark.parametrize("kind", ["llamba", "mamba1", "mamba2"])
def test_each_stage_lowers_its_loss(kind, make_teacher, make_llamba, make_hybrid, rows):
    teacher = make_teacher()
    student = make_llamba(teacher) if kind == "llamba" else make_hybrid(teacher, kind, attention=())
    for stage in ("matrix-orientation", "hidden-states", "end-to-end"):
        if (kind, stage) == ("mamba1", "matrix-orientation"):
            continue
        first, last = train(STAGES[stage](teacher=teacher), student, rows)
        assert last < 0.9 * first, stage


def train(objective, student, rows, num_steps=40):
    trained = objective.trained(student)
    freeze_others(student, trained)
    optimizer = torch.optim.AdamW(parameter_groups(student, trained, 0.1), lr=2e-3, betas=(0.9, 0.95))
    RowDecay(student, trained, 0.1).attach(optimizer)
    losses = []
    for _ in range(num_steps):
        optimizer.zero_grad()
        losses.append(objective.backward(student, rows, 1 / objective.count(rows)).loss_sum.item())
        optimizer.step()
    return losses[0], losses[-1]
