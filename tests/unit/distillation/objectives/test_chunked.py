"""The chunked loss: equal to the dense one with its gradients, for any chunks, heads and number formats."""

from functools import partial

import pytest
import torch

from timetrial_distillation.objectives.chunked import ChunkPlan, Projection, chunked_loss
from timetrial_distillation.objectives.token_loss import TokenLoss, dense_loss

N, D, V, PADDED = 11, 6, 13, 16
LOSSES = [
    TokenLoss(),
    TokenLoss(divergence="forward", temperature=2.0),
    TokenLoss(divergence="jsd", beta=0.3),
    TokenLoss(kl_weight=0.4, temperature=1.5),
    TokenLoss(kl_weight=0),
]


def draw(places=N, dtype=torch.float64, bias=True, vocabulary=PADDED):
    generator = torch.Generator().manual_seed(0)
    normal = partial(torch.randn, generator=generator, dtype=torch.float64)

    def projection(width, requires_grad):
        tensors = (normal(places, width), normal(vocabulary, width), normal(vocabulary) if bias else None)
        return Projection(*(t if t is None else t.to(dtype).requires_grad_(requires_grad) for t in tensors))

    student, teacher = projection(D, True), projection(D + 2, False)
    return student, teacher, torch.randint(V, (places,), generator=generator)


def logits(projection):
    bias = None if projection.bias is None else projection.bias[:V]
    return torch.nn.functional.linear(projection.hidden, projection.weight[:V], bias)


def gradients_of(loss, projection):
    wanted = [tensor for tensor in projection if tensor is not None and tensor.requires_grad]
    return torch.autograd.grad(loss, wanted)


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize("chunk_size", [1, 4, N, 100])
@pytest.mark.parametrize("bias", [True, False])
def test_any_chunks_give_the_dense_loss_and_its_gradients(loss, chunk_size, bias):
    student, teacher, labels = draw(bias=bias)
    expected = dense_loss(loss, logits(student), logits(teacher), labels)
    sums = chunked_loss(student, teacher, labels, ChunkPlan(loss, V, chunk_size))
    torch.testing.assert_close(sums, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradients_of(sums.loss, student), gradients_of(expected.loss, student))


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_gradients_pass_the_numerical_check(loss):
    student, teacher, labels = draw(places=5)
    plan = ChunkPlan(loss, V, 2)

    def whole(hidden, weight, bias):
        return chunked_loss(Projection(hidden, weight, bias), teacher, labels, plan, 0.7).loss

    assert torch.autograd.gradcheck(whole, tuple(student))


def test_the_padding_of_a_vocabulary_changes_nothing_and_gets_no_gradient():
    student, teacher, labels = draw()
    with torch.no_grad():
        student.weight[V:], teacher.weight[V:] = 1e3, -1e3
    sums = chunked_loss(student, teacher, labels, ChunkPlan(TokenLoss(kl_weight=0.5), V, 4))
    bare = [Projection(p.hidden.detach(), p.weight.detach()[:V], p.bias.detach()[:V]) for p in (student, teacher)]
    torch.testing.assert_close(sums, chunked_loss(*bare, labels, ChunkPlan(TokenLoss(kl_weight=0.5), V, 4)))
    _, of_weight, of_bias = gradients_of(sums.loss, student)
    assert not of_weight[V:].any() and not of_bias[V:].any()
    assert of_weight[:V].any() and of_bias[:V].any()


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_no_places_at_all_give_zero_and_gradients_of_zero(loss):
    student, teacher, labels = draw(places=0)
    sums = chunked_loss(student, teacher, labels, ChunkPlan(loss, V, 4))
    assert sums.loss.item() == 0
    of_hidden, of_weight, of_bias = gradients_of(sums.loss, student)
    assert of_hidden.shape == (0, D) and not of_weight.any() and not of_bias.any()


def test_only_what_requires_gradients_gets_them():
    student, teacher, labels = draw()
    frozen = Projection(student.hidden, student.weight.detach(), None)
    sums = chunked_loss(frozen, teacher, labels, ChunkPlan(TokenLoss(), V, 4))
    (of_hidden,) = gradients_of(sums.loss, frozen)
    assert of_hidden.abs().sum() > 0
    with torch.no_grad():
        assert not chunked_loss(student, teacher, labels, ChunkPlan(TokenLoss(), V, 4)).loss.requires_grad


def test_the_scale_is_that_of_loss_and_gradients_alone_and_outer_factors_multiply_it():
    student, teacher, labels = draw()
    plan = ChunkPlan(TokenLoss(kl_weight=0.5), V, 4)
    plain, scaled = (chunked_loss(student, teacher, labels, plan, scale) for scale in (1.0, 0.25))
    torch.testing.assert_close(scaled.loss, plain.loss / 4)
    torch.testing.assert_close(scaled[1:], plain[1:])
    torch.testing.assert_close(gradients_of(4 * scaled.loss, student), gradients_of(plain.loss, student))


def test_a_tied_weight_gets_the_gradients_of_both_its_uses():
    student, teacher, labels = draw(bias=False)
    tokens = torch.randint(V, (N,), generator=torch.Generator().manual_seed(5))
    plan = ChunkPlan(TokenLoss(), V, 4)

    def loss_of(compute):
        hidden = torch.tanh(student.weight[tokens])
        return compute(Projection(hidden, student.weight, None))

    ours = loss_of(lambda p: chunked_loss(p, teacher, labels, plan).loss)
    dense = loss_of(lambda p: dense_loss(TokenLoss(), logits(p), logits(teacher), labels).loss)
    torch.testing.assert_close(torch.autograd.grad(ours, student.weight), torch.autograd.grad(dense, student.weight))


def test_in_bfloat16_only_the_products_are_rounded():
    """Losses and gradients stay within a few roundings of the exact ones, and head gradients are summed in float32."""
    exact_student, exact_teacher, labels = draw(places=64)
    student, teacher, _ = draw(places=64, dtype=torch.bfloat16)
    plan = ChunkPlan(TokenLoss(), V, 8)
    exact = chunked_loss(exact_student, exact_teacher, labels, plan)
    sums = chunked_loss(student, teacher, labels, plan)
    assert sums.loss.dtype == torch.float32
    assert sums.loss.item() == pytest.approx(exact.loss.item(), rel=0.02)
    for ours, theirs in zip(gradients_of(sums.loss, student), gradients_of(exact.loss, exact_student), strict=True):
        assert ours.dtype == torch.bfloat16
        assert ((ours.double() - theirs).norm() / theirs.norm()) < 0.02


def test_a_float32_head_over_bfloat16_states_gets_a_float32_gradient():
    student, teacher, labels = draw(dtype=torch.float32)
    mixed = Projection(student.hidden.detach().bfloat16().requires_grad_(), student.weight, student.bias)
    sums = chunked_loss(mixed, teacher, labels, ChunkPlan(TokenLoss(), V, 4))
    of_hidden, of_weight, _ = gradients_of(sums.loss, mixed)
    assert of_hidden.dtype == torch.bfloat16 and of_weight.dtype == torch.float32


def test_autocast_decides_the_type_of_products():
    student, teacher, labels = draw(dtype=torch.float32)
    plan = ChunkPlan(TokenLoss(), V, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = chunked_loss(student, teacher, labels, plan)
    half = [Projection(*(t.detach().bfloat16() for t in p)) for p in (student, teacher)]
    assert torch.equal(cast.loss.detach(), chunked_loss(*half, labels, plan).loss)
    assert all(gradient.dtype == torch.float32 for gradient in gradients_of(cast.loss, student))


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_no_tensor_is_as_large_as_all_logits(loss, largest_tensor):
    student, teacher, labels = draw(places=200)
    with largest_tensor() as seen:
        chunked_loss(student, teacher, labels, ChunkPlan(loss, V, 8)).loss.backward()
    assert seen.largest <= max(200 * (D + 2), PADDED * (D + 2), 8 * V)
    with largest_tensor() as seen:
        dense_loss(loss, logits(student), logits(teacher), labels).loss.backward()
    assert seen.largest == 200 * V
