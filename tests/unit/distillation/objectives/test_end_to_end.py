"""End-to-end stages: the loss of whole models, at the places that count, whatever the head looks like."""

import pytest
import torch
from torch.nn import functional

from timetrial.error import UsageError
from timetrial_distillation.data.rows import IGNORED, Rows
from timetrial_distillation.objectives.end_to_end import EndToEnd
from timetrial_distillation.objectives.places import all_labels
from timetrial_distillation.objectives.token_loss import TokenLoss, dense_loss

LOSSES = [TokenLoss(), TokenLoss(divergence="forward"), TokenLoss(kl_weight=0.3), TokenLoss(kl_weight=0)]


def dense(objective, student, rows, labels):
    """The definition, on whole logits."""
    counts = labels != IGNORED
    ours = student.logits(rows.tokens, rows.doc_ids)[counts]
    theirs = None
    if objective.teacher is not None:
        theirs = objective.teacher.logits(rows.tokens, rows.doc_ids)[counts]
    return dense_loss(objective.token_loss, ours, theirs, labels[counts])


def make(loss, teacher, **options):
    return EndToEnd(teacher=teacher if loss.needs_teacher else None, token_loss=loss, chunk_size=4, **options)


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", ["llamba", "padded llamba", "mamba1", "mamba2"])
def test_loss_and_gradients_are_those_of_whole_logits(
    loss, tied, kind, make_teacher, make_llamba, make_hybrid, rows, gradients
):
    teacher = make_teacher(tied=tied, dtype=torch.float64)
    if "llamba" in kind:
        student = make_llamba(teacher, padding=16 if "padded" in kind else 1)
    else:
        student = make_hybrid(teacher, kind)
    objective = make(loss, teacher)
    ours = gradients(objective, student, rows)
    expected = dense(objective, student, rows, rows.labels)
    torch.testing.assert_close(objective.measure(student, rows).loss_sum, expected.loss.detach())
    student.zero_grad()
    (expected.loss / rows.num_labels).backward()
    assert ours.keys() == dict(student.named_parameters()).keys()
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, student.get_parameter(name).grad, rtol=1e-9, atol=1e-12, msg=name)


def test_all_places_are_those_of_prompts_and_answers(make_teacher, make_llamba, rows):
    teacher = make_teacher()
    student = make_llamba(teacher)
    objective = make(TokenLoss(), teacher, places="all")
    assert objective.count(rows) == (5 - 1) + (5 - 1) + (12 - 1) + (3 - 1)
    expected = dense(objective, student, rows, all_labels(rows)).loss
    torch.testing.assert_close(objective.measure(student, rows).loss_sum, expected, rtol=1e-5, atol=1e-4)


def test_the_labelled_places_are_the_assistants_tokens(make_teacher, rows):
    assert make(TokenLoss(), make_teacher()).count(rows) == rows.num_labels == 14


def test_fine_tuning_is_cross_entropy_of_labels(make_teacher, rows):
    student = make_teacher()
    sums = EndToEnd(token_loss=TokenLoss(kl_weight=0)).measure(student, rows)
    logits = student.logits(rows.tokens, rows.doc_ids)
    expected = functional.cross_entropy(logits.flatten(0, 1), rows.labels.flatten(), reduction="sum")
    torch.testing.assert_close(sums.loss_sum, expected.detach(), rtol=1e-5, atol=1e-4)
    assert sums.metrics == {}


def test_a_mixture_reports_its_parts(make_teacher, make_hybrid, rows):
    teacher = make_teacher()
    student = make_hybrid(teacher)
    parts = make(TokenLoss(kl_weight=0.25), teacher).measure(student, rows)
    alone = [make(loss, teacher).measure(student, rows).loss_sum for loss in (TokenLoss(), TokenLoss(kl_weight=0))]
    torch.testing.assert_close([*parts.metrics.values()], alone)
    assert [*parts.metrics] == ["divergence", "cross_entropy"]
    torch.testing.assert_close(parts.loss_sum, 0.25 * alone[0] + 0.75 * alone[1])


def test_a_student_that_is_its_teacher_has_nothing_to_learn(make_teacher, rows):
    teacher, student = make_teacher(), make_teacher()
    assert abs(make(TokenLoss(), teacher).measure(student, rows).loss_sum) < 1e-5


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_rows_without_labels_give_zero_and_gradients_of_zero(loss, make_teacher, make_llamba, rows, gradients):
    teacher = make_teacher()
    student = make_llamba(teacher)
    objective = make(loss, teacher)
    masked = rows._replace(labels=torch.full_like(rows.labels, IGNORED), num_labels=0)
    assert objective.count(masked) == 0 and objective.measure(student, masked).loss_sum == 0
    grads = gradients(objective, student, masked)
    assert grads.keys() == dict(student.named_parameters()).keys()
    assert not any(gradient.any() for gradient in grads.values())


def test_checkpointing_changes_no_gradient(make_teacher, make_hybrid, rows, gradients):
    teacher = make_teacher()
    student = make_hybrid(teacher)
    plain, checkpointed = (
        gradients(make(TokenLoss(), teacher, checkpointing=on), student, rows) for on in (False, True)
    )
    assert all(torch.equal(plain[name], checkpointed[name]) for name in plain)


def test_a_bfloat16_teacher_is_a_teacher(make_teacher, make_llamba, rows, gradients):
    """A float32 student learns from it nearly what it learns from the float32 one."""
    exact, rounded = make_teacher(), make_teacher(dtype=torch.bfloat16)
    student = make_llamba(exact)
    ours, theirs = (gradients(make(TokenLoss(), teacher), student, rows) for teacher in (rounded, exact))
    assert all(gradient.dtype == torch.float32 for gradient in ours.values())
    flat, other = (torch.cat([g.flatten() for g in side.values()]) for side in (ours, theirs))
    assert (flat - other).norm() / other.norm() < 0.1


def test_only_mixers_that_replaced_attention_may_be_trained(make_teacher, make_hybrid, make_llamba):
    teacher = make_teacher()
    hybrid, llamba = make_hybrid(teacher), make_llamba(teacher)
    objective = make(TokenLoss(), teacher, trains="mixers")
    assert {name.split(".")[3] for name in objective.trained(hybrid)} == {"mamba"}
    assert {name.split(".")[3] for name in objective.trained(llamba)} == {"mixer"}
    with pytest.raises(UsageError, match="a Llama has no Mamba layers"):
        objective.trained(make_teacher())


def test_packed_documents_give_the_loss_of_documents_in_rows_of_their_own(make_teacher, make_llamba, make_hybrid, rows):
    """A row of three documents against three rows; the second side has no other document to leak from."""
    teacher = make_teacher(dtype=torch.float64)
    for student in (make_llamba(teacher), make_hybrid(teacher), make_hybrid(teacher, "mamba2")):
        for loss in LOSSES:
            objective = make(loss, teacher, places="all")
            alone = 0
            for row in range(3):
                for document in rows.doc_ids[row].unique():
                    its = rows.doc_ids[row] == document
                    tensors = [tensor[row, its][None] for tensor in rows[:3]]
                    alone = alone + objective.measure(student, Rows(*tensors, 0, 0)).loss_sum
            torch.testing.assert_close(objective.measure(student, rows).loss_sum, alone, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kl_weight", [0, 1])
def test_a_teacher_has_to_be_there_if_and_only_if_the_loss_needs_one(kl_weight, make_teacher):
    teacher = make_teacher() if kl_weight == 0 else None
    with pytest.raises(UsageError, match="uses no teacher" if teacher else "needs a teacher"):
        EndToEnd(teacher=teacher, token_loss=TokenLoss(kl_weight=kl_weight))


def test_vocabularies_that_differ_are_refused_unless_the_tokenizers_size_is_given(make_teacher, make_llamba, rows):
    teacher = make_teacher()
    student = make_llamba(teacher)
    student.vocab_size = 60
    with pytest.raises(UsageError, match="the student has 60, the teacher has 61"):
        make(TokenLoss(), teacher).trained(student)
    with pytest.raises(UsageError, match="vocab_size is 61"):
        make(TokenLoss(), teacher, vocab_size=61).trained(student)
    assert make(TokenLoss(), teacher, vocab_size=60).measure(student, rows).loss_sum > 0
