"""Rows of prepared data: the same for everybody, from anywhere."""

from itertools import pairwise

import pytest
import torch

from timetrial.error import UsageError
from timetrial_distillation.data.packed import PackedRows
from timetrial_distillation.data.plan import PlanConfig
from timetrial_distillation.data.rows import IGNORED


@pytest.fixture
def data(prepare_texts):
    return prepare_texts([f"Ann has {i} apples and {7 * i} pears. " * (1 + i % 5) for i in range(60)])


def packed(data, mode="bfd", supervise="answers", **values):
    return PackedRows(data, PlanConfig(**{"length": 96, "mode": mode, "seed": 3, "window": 16} | values), supervise)


def stacked(parts):
    return [torch.cat(tensors) for tensors in zip(*((p.tokens, p.labels, p.doc_ids) for p in parts), strict=True)]


@pytest.mark.parametrize("mode", ["bfd", "concat"])
@pytest.mark.parametrize("num_ranks", [1, 2, 3, 4])
def test_any_number_of_ranks_sees_one_order_of_rows(data, mode, num_ranks):
    """Also across the seam between two epochs; every rank has a source of its own."""
    num_rows, rows_a_step = 48, 12
    whole = packed(data, mode).rows(0, num_rows)
    assert packed(data, mode).epoch(num_rows - 1) >= 1
    share = rows_a_step // num_ranks
    ranks = [packed(data, mode) for _ in range(num_ranks)]
    parts = [
        source.rows(step + rank * share, share)
        for step in range(0, num_rows, rows_a_step)
        for rank, source in enumerate(ranks)
    ]
    for mine, wanted in zip(stacked(parts), whole[:3], strict=True):
        assert torch.equal(mine, wanted)
    assert sum(part.num_labels for part in parts) == whole.num_labels
    assert sum(part.num_tokens for part in parts) == whole.num_tokens


@pytest.mark.parametrize("mode", ["bfd", "concat"])
@pytest.mark.parametrize("position", [0, 1, 17, 40, 95])
def test_a_new_source_goes_on_at_any_position(data, mode, position):
    whole = packed(data, mode).rows(0, 100)
    rest = packed(data, mode).rows(position, 100 - position)
    assert torch.equal(rest.tokens, whole.tokens[position:])
    assert torch.equal(rest.labels, whole.labels[position:])
    assert torch.equal(rest.doc_ids, whole.doc_ids[position:])


def test_an_epoch_of_concat_learns_every_token_but_the_first_of_each_document(data):
    source = packed(data, "concat", supervise="all")
    num_rows = next(position for position in range(1000) if source.epoch(position))
    rows = source.rows(0, num_rows)
    wanted = sorted(t for n in range(len(data.lengths)) for t in data.document(n).tokens[1:].tolist())
    assert sorted(rows.labels[rows.labels != IGNORED].tolist()) == wanted
    assert rows.num_tokens == data.index.num_tokens
    assert rows.num_labels == data.index.num_tokens - data.index.num_documents


def test_best_fit_rows_hold_whole_documents(data):
    rows = packed(data).rows(0, 10)
    documents = {tuple(data.document(n).tokens.tolist()) for n in range(len(data.lengths))}
    for tokens, doc_ids, labels in zip(rows.tokens, rows.doc_ids, rows.labels, strict=True):
        *found, padding = [tokens[doc_ids == number].tolist() for number in range(int(doc_ids.max()) + 1)]
        if int(doc_ids[-1]) != int(doc_ids.max()) or (labels[doc_ids == doc_ids.max()] != IGNORED).any():
            found.append(padding)  # the row is full: its last document is one
        assert {tuple(document) for document in found} <= documents


def test_documents_of_a_row_are_numbered_in_their_order(data):
    for doc_ids in packed(data, "concat").rows(0, 20).doc_ids:
        assert doc_ids[0] == 0 and all(after - before in (0, 1) for before, after in pairwise(doc_ids.tolist()))


def test_the_digest_tells_apart_everything_that_changes_rows(data, prepare_texts):
    sources = [
        packed(data),
        packed(data, "concat"),
        packed(data, supervise="all"),
        packed(data, seed=4),
        packed(data, length=128),
        packed(data, window=17),
        packed(prepare_texts(["Another text."] * 20, "other")),
    ]
    assert len({source.digest for source in sources}) == len(sources)
    assert packed(data).digest == sources[0].digest
    assert {source.tokenizer_digest for source in sources} == {data.index.tokenizer_digest}


def test_an_unknown_supervision_is_refused(data):
    with pytest.raises(UsageError, match="supervise is 'some'; expected answers or all"):
        packed(data, supervise="some")
