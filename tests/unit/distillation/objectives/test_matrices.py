"""Distances of mixing matrices: the blocks equal the whole, the matrix is the recurrence's, and little is held."""

from functools import partial

import pytest
import torch

from timetrial_distillation.objectives.matrices import QueriesKeys, attention_rows, matrix_distance, mixing_rows
from timetrial_plugins.models.scan.ssd import Mixing, SSDInputs, ssd_matrix, ssd_sequential

B, T, H, G, K, N, P = 2, 13, 4, 2, 2, 3, 6
DOCUMENTS = torch.tensor([[3] * 5 + [1] * 1 + [2] * 7, [0] * 9 + [5] * 4])
COUNTS = torch.tensor([[True] * 6 + [False] * 7, [True] * 13])


def draw(dtype=torch.float64, decay=1.0, requires_grad=True):
    normal = partial(torch.randn, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    log_decay = -decay * torch.nn.functional.softplus(3 * normal(B, T, H))
    mixing = Mixing(log_decay, normal(B, T, G, N), normal(B, T, G, N), normal(H))
    attention = QueriesKeys(2 * normal(B, H, T, P), 2 * normal(B, K, T, P))
    cast = Mixing(*(tensor.to(dtype).requires_grad_(requires_grad) for tensor in mixing))
    return cast, QueriesKeys(*(tensor.to(dtype) for tensor in attention))


def dense_distance(mixing, attention, doc_ids, counts):
    """The definition, with whole matrices."""
    key = attention.key.repeat_interleave(H // K, dim=1)
    is_hidden = (doc_ids[:, :, None] != doc_ids[:, None, :]) | torch.ones(T, T, dtype=torch.bool).triu(1)
    scores = (attention.query @ key.mT / P**0.5).masked_fill(is_hidden[:, None], -torch.inf)
    matrix = ssd_matrix(mixing.log_decay, mixing.b, mixing.c, doc_ids) + torch.diag_embed(
        mixing.skip[:, None].expand(-1, T)
    )
    difference = (matrix - scores.softmax(-1)) * counts[:, None, :, None]
    return torch.linalg.matrix_norm(difference, "fro")


@pytest.mark.parametrize("block_size", [1, 4, 13, 64])
def test_blocks_of_any_size_give_the_dense_distances_and_gradients(block_size):
    mixing, attention = draw()
    expected = dense_distance(mixing, attention, DOCUMENTS, COUNTS)
    distances = matrix_distance(mixing, attention, DOCUMENTS, COUNTS, block_size)
    torch.testing.assert_close(distances, expected, rtol=1e-13, atol=1e-13)
    weights = torch.arange(1.0, B * H + 1, dtype=torch.float64).view(B, H)
    torch.testing.assert_close(
        torch.autograd.grad((weights * distances).sum(), mixing),
        torch.autograd.grad((weights * expected).sum(), mixing),
        rtol=1e-11,
        atol=1e-12,
    )


def test_gradients_pass_the_numerical_check():
    mixing, attention = draw()
    short = [part[:, :4].detach().requires_grad_() for part in mixing[:3]]
    fixed = QueriesKeys(*(part[:, :, :4] for part in attention))

    def distances(*parts):
        return matrix_distance(Mixing(*parts), fixed, DOCUMENTS[:, 3:7], COUNTS[:, 3:7], 3)

    assert torch.autograd.gradcheck(distances, (*short, mixing.skip))


def test_without_gradients_the_distances_are_the_same_and_have_no_graph():
    mixing, attention = draw()
    with torch.no_grad():
        distances = matrix_distance(mixing, attention, DOCUMENTS, COUNTS, 4)
    assert not distances.requires_grad
    assert torch.equal(distances, matrix_distance(mixing, attention, DOCUMENTS, COUNTS, 4).detach())


def test_the_matrix_applied_to_x_is_the_recurrence_with_its_skip():
    mixing, _ = draw(requires_grad=False)
    x = torch.randn(B, T, H, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    y, _ = ssd_sequential(SSDInputs(x, mixing.log_decay, mixing.b, mixing.c), doc_ids=DOCUMENTS)
    y = y + mixing.skip[:, None] * x
    b, c = (part.repeat_interleave(H // G, dim=2) for part in (mixing.b, mixing.c))
    by_head = mixing._replace(b=b, c=c)
    is_same = DOCUMENTS[:, :, None] == DOCUMENTS[:, None, :]
    for rows in (range(0, 4), range(4, 11), range(11, T)):
        visible = (is_same & torch.ones(T, T, dtype=torch.bool).tril())[:, None, rows.start : rows.stop, : rows.stop]
        applied = torch.einsum("bhrs,bshp->brhp", mixing_rows(by_head, visible, rows), x[:, : rows.stop])
        torch.testing.assert_close(applied, y[:, rows.start : rows.stop], rtol=1e-12, atol=1e-12)


def test_rows_of_attention_add_up_to_one_within_their_document():
    _, attention = draw()
    visible = (DOCUMENTS[:, :, None] == DOCUMENTS[:, None, :]) & torch.ones(T, T, dtype=torch.bool).tril()
    weights = attention_rows(attention, visible[:, None, 4:9, :9], range(4, 9))
    torch.testing.assert_close(weights.sum(-1), torch.ones(B, H, 5, dtype=torch.float64))
    assert not weights[0, :, 2:, :5].any()  # the second and third document of row 0 do not see the first


def test_equal_matrices_have_a_distance_of_almost_nothing_and_finite_gradients():
    """One token sees itself: attention is 1, and so is c b + skip here."""
    ones = torch.ones(1, 1, 1, 1, dtype=torch.float64, requires_grad=True)
    skip = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    mixing = Mixing(-ones[..., 0], ones, ones, skip)
    attention = QueriesKeys(ones.detach(), ones.detach())
    distance = matrix_distance(mixing, attention, torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool))
    assert distance.item() <= 1e-11
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(distance.sum(), (ones, skip)))


def test_decays_that_underflow_or_keep_everything_stay_finite():
    for decay in (1e-7, 1e3):
        mixing, attention = draw(torch.float32, decay)
        distances = matrix_distance(mixing, attention, DOCUMENTS, COUNTS, 4)
        assert distances.isfinite().all()
        assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(distances.sum(), mixing))


def test_in_float32_slow_decays_lose_no_digits():
    """Sums of log-decays that are differences of long running sums would."""
    exact, attention = draw(decay=1e-3)
    mixing, rounded = draw(torch.float32, decay=1e-3)
    distances = matrix_distance(mixing, rounded, DOCUMENTS, COUNTS, 4)
    torch.testing.assert_close(
        distances.double(), matrix_distance(exact, attention, DOCUMENTS, COUNTS, 4), rtol=1e-6, atol=0
    )


def test_half_precision_is_widened_before_anything_is_multiplied_also_under_autocast():
    mixing, attention = draw(torch.bfloat16, requires_grad=False)
    wide = [type(part)(*(tensor.float() for tensor in part)) for part in (mixing, attention)]
    expected = matrix_distance(*wide, DOCUMENTS, COUNTS, 4)
    assert torch.equal(matrix_distance(mixing, attention, DOCUMENTS, COUNTS, 4), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(matrix_distance(*wide, DOCUMENTS, COUNTS, 4), expected)


def test_no_tensor_is_as_large_as_a_matrix_forward_or_backward(largest_tensor):
    length, block = 64, 4
    normal = partial(torch.randn, generator=torch.Generator().manual_seed(0))
    mixing = Mixing(
        *(
            t.requires_grad_()
            for t in (-normal(1, length, H).abs(), normal(1, length, H, 2), normal(1, length, H, 2), normal(H))
        )
    )
    attention = QueriesKeys(normal(1, H, length, 2), normal(1, H, length, 2))
    counts = torch.ones(1, length, dtype=torch.bool)
    with largest_tensor() as seen:
        matrix_distance(mixing, attention, counts.long(), counts, block).sum().backward()
    assert seen.largest <= H * block * length
