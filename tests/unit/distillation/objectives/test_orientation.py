"""Matrix orientation: against Hugging Face's attentions, on the rows that matrices depend on and on no others."""

import pytest
import torch
import transformers

from timetrial.error import UsageError
from timetrial_distillation.objectives.orientation import MatrixOrientation
from timetrial_distillation.objectives.parameters import RowDecay, freeze_others, parameter_groups
from timetrial_distillation.objectives.stage import WHOLE
from timetrial_plugins.models.scan.ssd import ssd_matrix


def attentions(teacher, rows):
    """Probabilities and entering hidden states of each layer, by transformers, one document at a time."""
    config = transformers.LlamaConfig(**teacher.config.to_json(), attn_implementation="eager")
    reference = transformers.LlamaForCausalLM(config).to(teacher.model.embed_tokens.weight.dtype).eval()
    reference.load_state_dict(teacher.state_dict() | {"lm_head.weight": teacher.anatomy.head.weight})
    weights = torch.zeros(2, 3, 4, 12, 12, dtype=torch.float64)
    hidden = torch.zeros(2, 3, 12, 64, dtype=torch.float64)
    for row in range(3):
        for document in rows.doc_ids[row].unique():
            (places,) = torch.where(rows.doc_ids[row] == document)
            span = slice(places[0], places[-1] + 1)
            with torch.no_grad():
                outputs = reference(rows.tokens[row, span][None], output_attentions=True, output_hidden_states=True)
            for layer in range(2):
                weights[layer, row, :, span, span] = outputs.attentions[layer][0].double()
                hidden[layer, row, span] = outputs.hidden_states[layer][0].double()
    return weights, hidden


def counted(rows):
    """Documents with labels, by hand for the fixture's rows."""
    return torch.tensor([[True] * 10 + [False] * 2, [True] * 12, [True] * 3 + [False] * 9])


def dense_losses(student_layers, teacher, rows, view):
    """The loss of each layer by the definition, with whole matrices."""
    weights, hidden = attentions(teacher, rows)
    losses = []
    for index, layer in student_layers:
        mixing = layer.mixing(hidden[index].to(teacher.model.embed_tokens.weight.dtype), view)
        matrix = ssd_matrix(mixing.log_decay, mixing.b, mixing.c, rows.doc_ids)
        matrix = matrix + torch.diag_embed(mixing.skip[:, None].expand(-1, 12))
        difference = (matrix - weights[index]) * counted(rows)[:, None, :, None]
        losses.append(torch.linalg.matrix_norm(difference, "fro").mean(1).sum())
    return losses


def test_blocked_losses_and_gradients_of_a_llamba_equal_dense_ones_against_transformers(
    make_teacher, make_llamba, rows
):
    teacher = make_teacher(dtype=torch.float64)
    student = make_llamba(teacher)
    objective = MatrixOrientation(teacher=teacher, block_size=5)
    freeze_others(student, objective.trained(student))
    parts = objective.backward(student, rows, 1.0)
    ours = {name: p.grad for name, p in student.named_parameters() if p.requires_grad}
    losses = dense_losses(enumerate(student.backbone.layers), teacher, rows, rows.doc_ids)
    torch.testing.assert_close(parts.loss_sum, sum(losses).detach(), rtol=1e-6, atol=0)
    torch.testing.assert_close(list(parts.metrics.values()), [x.detach() for x in losses], rtol=1e-6, atol=0)
    names = list(ours)
    dense = torch.autograd.grad(sum(losses), [student.get_parameter(name) for name in names])
    for name, expected in zip(names, dense, strict=True):
        torch.testing.assert_close(ours[name], expected, rtol=1e-5, atol=1e-6)  # transformers norms in float32


def test_the_mamba2_layers_of_a_hybrid_are_oriented_and_its_attention_is_left_alone(make_teacher, make_hybrid, rows):
    teacher = make_teacher(dtype=torch.float64)
    student = make_hybrid(teacher, "mamba2")
    objective = MatrixOrientation(teacher=teacher, block_size=5)
    trained = objective.trained(student)
    assert {name.split(".")[2] for name in trained} == {"0"}
    parts = objective.measure(student, rows)
    view = student.view(rows.tokens, rows.doc_ids)
    (loss,) = dense_losses([(0, student.model.layers[0])], teacher, rows, view)
    torch.testing.assert_close(parts.loss_sum, loss.detach(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", ["llamba", "mamba2"])
def test_mixing_is_what_the_layer_mixes_by(kind, make_teacher, make_llamba, make_hybrid, rows, monkeypatch):
    """The matrix applied to x, gated and projected as the layer does it, is the mixer's output."""
    teacher = make_teacher(dtype=torch.float64)
    student = make_llamba(teacher, recipe="attention") if kind == "llamba" else make_hybrid(teacher, "mamba2")
    layer, view = student.anatomy.layers[0], student.view(rows.tokens, rows.doc_ids)
    mixer = layer.mixer if kind == "llamba" else layer.mamba
    hidden = student.anatomy.embedding(rows.tokens)
    mixing = layer.mixing(hidden, view)
    matrix = ssd_matrix(mixing.log_decay, mixing.b, mixing.c, rows.doc_ids)
    matrix = matrix + torch.diag_embed(mixing.skip[:, None].expand(-1, 12))
    gated = {}
    original = mixer._gated

    def remember(y, x, z):
        gated.update(x=x, z=z, output=original(y, x, z))
        return gated["output"]

    monkeypatch.setattr(mixer, "_gated", remember)
    mixed, _ = layer.mix(hidden, view)
    applied = torch.einsum("bhij,bjhp->bihp", matrix, gated["x"])
    without_skip = original(applied - mixing.skip[:, None] * gated["x"], gated["x"], gated["z"])
    torch.testing.assert_close(mixer.out_proj(without_skip), mixed, rtol=1e-9, atol=1e-9)


def test_only_rows_of_b_c_and_decay_get_gradients(make_teacher, make_llamba, rows, gradients):
    student = make_llamba(make_teacher())
    grads = gradients(objective := MatrixOrientation(teacher=make_teacher()), student, rows)
    assert grads.keys() == objective.trained(student).keys()
    prefix = "backbone.layers.1.mixer."
    projected, convolved = grads[prefix + "in_proj.weight"], grads[prefix + "conv1d.weight"]
    x, bc, z, decay = projected.split([64, 128, 64, 4])
    assert not x.any() and not z.any() and bc.abs().amax(1).all() and decay.abs().amax(1).all()
    assert not convolved[:64].any() and convolved[64:].abs().amax((1, 2)).all()
    assert not grads[prefix + "conv1d.bias"][:64].any() and grads[prefix + "D"].all()


def test_x_and_the_gate_survive_training_with_weight_decay_to_the_bit(make_teacher, make_llamba, rows):
    teacher = make_teacher()
    student = make_llamba(teacher)
    objective = MatrixOrientation(teacher=teacher)
    trained = objective.trained(student)
    freeze_others(student, trained)
    before = {name: parameter.detach().clone() for name, parameter in student.named_parameters()}
    optimizer = torch.optim.AdamW(parameter_groups(student, trained, 0.5), lr=1e-2)
    RowDecay(student, trained, 0.5).attach(optimizer)
    for _ in range(3):
        optimizer.zero_grad()
        objective.backward(student, rows, 1 / objective.count(rows))
        optimizer.step()
    for name, parameter in student.named_parameters():
        is_kept = torch.ones(parameter.shape[0], dtype=torch.bool)
        for span in trained.get(name, ()):
            is_kept[span] = False
        assert torch.equal(parameter[is_kept], before[name][is_kept]), name
        assert not torch.equal(parameter[~is_kept], before[name][~is_kept]) or is_kept.all(), name


def test_the_norms_are_trained_only_if_asked_for(make_teacher, make_llamba, rows, gradients):
    teacher = make_teacher()
    name = "backbone.layers.0.input_layernorm.weight"
    assert name not in MatrixOrientation(teacher=teacher).trained(make_llamba(teacher))
    objective = MatrixOrientation(teacher=teacher, trains_norm=True)
    student = make_llamba(teacher)
    assert objective.trained(student)[name] == WHOLE
    assert gradients(objective, student, rows)[name].any()


def test_mamba1_has_no_matrix_per_head_and_is_refused_with_a_way_out(make_teacher, make_hybrid):
    teacher = make_teacher()
    with pytest.raises(UsageError, match=r"decay for each channel.*end to end"):
        MatrixOrientation(teacher=teacher).trained(make_hybrid(teacher, "mamba1"))


def test_a_student_with_other_heads_is_refused(make_teacher, make_llamba, rows):
    teacher = make_teacher()
    with pytest.raises(UsageError, match="layer 0 of the student has 2 heads and the teacher's attention 4"):
        MatrixOrientation(teacher=teacher).measure(make_llamba(teacher, heads=2), rows)


def test_a_student_without_mixers_and_a_teacher_without_attention_are_refused(make_teacher, make_hybrid, make_llamba):
    teacher = make_teacher()
    with pytest.raises(UsageError, match="no layer that mixes"):
        MatrixOrientation(teacher=teacher).trained(make_hybrid(teacher, attention=(0, 1)))
    with pytest.raises(UsageError, match="the teacher is a Llamba"):
        MatrixOrientation(teacher=make_llamba(teacher))
