"""Hidden-state alignment: the target is the layer's own output, and each layer learns by itself."""

import pytest
import torch

from timetrial.error import UsageError
from timetrial_distillation.objectives.hidden_states import HiddenStateAlignment
from timetrial_distillation.objectives.parameters import freeze_others


@pytest.fixture
def hooked():
    """Return a function that gives what a teacher's layers return in `logits`, taken by hooks."""

    def collect(teacher, rows):
        outputs = []
        handles = [
            layer.register_forward_hook(lambda _, __, output: outputs.append(output[0]))
            for layer in teacher.model.layers
        ]
        with torch.no_grad():
            teacher.logits(rows.tokens, rows.doc_ids)
        for handle in handles:
            handle.remove()
        return [teacher.model.embed_tokens(rows.tokens).detach(), *outputs]

    return collect


@pytest.fixture
def counted():
    """Tokens of documents with labels: 10, 12 and 3 of 12."""
    return torch.arange(12) < torch.tensor([[10], [12], [3]])


@pytest.mark.parametrize("compare", ["layers", "mixers"])
def test_layers_that_are_the_teachers_have_no_loss_and_finite_gradients(
    compare, make_teacher, make_hybrid, rows, gradients
):
    teacher = make_teacher()
    student = make_hybrid(teacher, attention=(0, 1))
    objective = HiddenStateAlignment(teacher=teacher, compare=compare)
    assert objective.measure(student, rows).loss_sum < 1e-3 * objective.count(rows)
    exact = make_hybrid(teacher.double(), attention=(0, 1))
    assert HiddenStateAlignment(teacher=teacher, compare=compare).measure(exact, rows).loss_sum < 1e-11
    assert all(gradient.isfinite().all() for gradient in gradients(objective, exact, rows).values())


def test_a_difference_of_exactly_nothing_has_gradients_of_nothing(make_teacher, rows, gradients):
    teacher = make_teacher()
    student = make_teacher()
    objective = HiddenStateAlignment(teacher=teacher)
    assert objective.measure(student, rows).loss_sum == 0
    assert not any(gradient.any() for gradient in gradients(objective, student, rows).values())


def test_each_layer_is_compared_with_what_leaves_the_teachers_also_the_last_before_the_final_norm(
    make_teacher, make_llamba, rows, hooked, counted
):
    teacher = make_teacher()
    student = make_llamba(teacher)
    states = hooked(teacher, rows)
    losses = [
        torch.linalg.vector_norm(layer(states[i], rows.doc_ids)[0] - states[i + 1], dim=-1)[counted].sum()
        for i, layer in enumerate(student.backbone.layers)
    ]
    parts = HiddenStateAlignment(teacher=teacher).measure(student, rows)
    assert list(parts.metrics) == ["layer_00", "layer_01"]
    torch.testing.assert_close(list(parts.metrics.values()), losses, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(parts.loss_sum, sum(losses), rtol=1e-5, atol=1e-4)


def test_a_gap_chains_layers_before_they_are_compared(make_teacher, make_llamba, rows, hooked, counted):
    teacher = make_teacher()
    student = make_llamba(teacher)
    states = hooked(teacher, rows)
    hidden = states[0]
    for layer in student.backbone.layers:
        hidden, _ = layer(hidden, rows.doc_ids)
    expected = torch.linalg.vector_norm(hidden - states[2], dim=-1)[counted].sum()
    parts = HiddenStateAlignment(teacher=teacher, gap=2).measure(student, rows)
    assert list(parts.metrics) == ["layer_01"]
    torch.testing.assert_close(parts.loss_sum, expected, rtol=1e-5, atol=1e-4)


def test_mixers_are_compared_with_what_attention_adds(make_teacher, make_hybrid, rows, hooked, counted):
    teacher = make_teacher()
    student = make_hybrid(teacher)
    states = hooked(teacher, rows)
    view, its_view = (model.view(rows.tokens, rows.doc_ids) for model in (student, teacher))
    losses = [
        torch.linalg.vector_norm(ours.mix(h, view)[0] - its.mix(h, its_view)[0], dim=-1)[counted].sum()
        for h, ours, its in zip(states[:-1], student.model.layers, teacher.model.layers, strict=True)
    ]
    parts = HiddenStateAlignment(teacher=teacher, compare="mixers").measure(student, rows)
    torch.testing.assert_close(list(parts.metrics.values()), losses, rtol=1e-5, atol=1e-4)


def test_backpropagating_layer_by_layer_gives_the_gradients_of_the_sum(
    make_teacher, make_llamba, rows, gradients, hooked, counted
):
    teacher = make_teacher(dtype=torch.float64)
    student = make_llamba(teacher)
    states = hooked(teacher, rows)
    ours = gradients(HiddenStateAlignment(teacher=teacher), student, rows)
    student.zero_grad()
    loss = sum(
        torch.linalg.vector_norm(layer(states[i], rows.doc_ids)[0] - states[i + 1], dim=-1)[counted].sum()
        for i, layer in enumerate(student.backbone.layers)
    )
    (loss / counted.sum()).backward()
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, student.get_parameter(name).grad, rtol=1e-9, atol=1e-12, msg=name)


def test_mixers_mlps_and_norms_of_layers_are_trained_and_nothing_outside(make_teacher, make_llamba, make_hybrid):
    teacher = make_teacher(tied=False)
    student = make_llamba(teacher)
    names = {name for name, _ in student.named_parameters() if ".layers." in name}
    assert HiddenStateAlignment(teacher=teacher).trained(student).keys() == names
    mixers = HiddenStateAlignment(teacher=teacher, compare="mixers").trained(make_hybrid(teacher))
    assert {name.split(".")[3] for name in mixers} == {"input_layernorm", "mamba", "mha"}


def test_every_trained_parameter_gets_a_gradient(make_teacher, make_llamba, make_hybrid, rows, gradients):
    teacher = make_teacher()
    for compare in ("layers", "mixers"):
        for student in (make_llamba(teacher), make_hybrid(teacher), make_hybrid(teacher, "mamba2")):
            objective = HiddenStateAlignment(teacher=teacher, compare=compare)
            grads = gradients(objective, student, rows)
            assert grads.keys() == objective.trained(student).keys()


def test_padding_adds_nothing(make_teacher, make_llamba, rows, gradients):
    teacher = make_teacher()
    student = make_llamba(teacher)
    objective = HiddenStateAlignment(teacher=teacher)
    before = gradients(objective, student, rows)
    tokens = rows.tokens.clone()
    tokens[0, 10:], tokens[2, 3:] = 7, 8
    after = gradients(objective, student, rows._replace(tokens=tokens))
    assert objective.count(rows) == 25
    for name, gradient in before.items():
        torch.testing.assert_close(after[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gap": 3}, "a divisor of the number of layers, 2"),
        ({"gap": 0}, "gap is 0"),
        ({"gap": 2, "compare": "mixers"}, "can only be 1"),
    ],
)
def test_gaps_that_do_not_divide_the_layers_are_refused(options, message, make_teacher):
    with pytest.raises(UsageError, match=message):
        HiddenStateAlignment(teacher=make_teacher(), **options)


def test_a_student_of_another_shape_is_refused(make_teacher, make_llamba):
    teacher = make_teacher()
    teacher.model.layers = teacher.model.layers[:1]
    with pytest.raises(UsageError, match="the student has 2 layers and the teacher 1"):
        HiddenStateAlignment(teacher=teacher).trained(make_llamba(make_teacher()))


def test_a_teacher_is_frozen_by_the_stage(make_teacher, make_llamba, rows):
    teacher = make_teacher().train()
    objective = HiddenStateAlignment(teacher=teacher)
    student = make_llamba(make_teacher())
    freeze_others(student, objective.trained(student))
    objective.backward(student, rows, 1.0)
    assert not teacher.training
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
