"""Labels and document ids, by hand."""

import numpy as np

from timetrial_distillation.data.assembly import assemble
from timetrial_distillation.data.documents import EncodedDocument, cut_segment
from timetrial_distillation.data.rows import IGNORED

X = IGNORED


def document(tokens, is_answer):
    return EncodedDocument(np.array(tokens, dtype=np.uint32), np.array(is_answer, dtype=bool))


SIX = document([10, 11, 12, 13, 14, 15], [0, 0, 0, 1, 1, 1])
"""A prompt of three tokens and an answer of three."""
TWO = document([20, 21], [0, 1])


def test_the_last_prompt_token_predicts_the_first_answer_token():
    segment = cut_segment(SIX, 0, 6, "answers")
    assert segment.tokens.tolist() == [10, 11, 12, 13, 14, 15]
    assert segment.labels.tolist() == [X, X, 13, 14, 15, X]


def test_with_all_supervised_every_token_but_the_first_is_a_label():
    assert cut_segment(SIX, 0, 6, "all").labels.tolist() == [11, 12, 13, 14, 15, X]


def test_a_document_that_is_cut_predicts_its_next_token_at_the_cut():
    pieces = [cut_segment(SIX, start, stop, "answers") for start, stop in ((0, 3), (3, 4), (4, 6))]
    assert [piece.labels.tolist() for piece in pieces] == [[X, X, 13], [14], [15, X]]


def test_rows_are_padded_on_the_right_by_a_document_of_their_own():
    rows = assemble([[cut_segment(SIX, 0, 6, "answers"), cut_segment(TWO, 0, 2, "answers")]], 10)
    assert rows.tokens.tolist() == [[10, 11, 12, 13, 14, 15, 20, 21, 0, 0]]
    assert rows.labels.tolist() == [[X, X, 13, 14, 15, X, 21, X, X, X]]
    assert rows.doc_ids.tolist() == [[0, 0, 0, 0, 0, 0, 1, 1, 2, 2]]
    assert (rows.num_tokens, rows.num_labels) == (8, 4)


def test_no_label_reaches_into_another_document():
    rows = assemble([[cut_segment(TWO, 0, 2, "all"), cut_segment(SIX, 0, 6, "all")]], 8)
    assert rows.labels.tolist() == [[21, X, 11, 12, 13, 14, 15, X]]
    is_learned = rows.labels[0, :-1] != X
    assert (rows.labels[0, :-1][is_learned] == rows.tokens[0, 1:][is_learned]).all()
    assert (rows.doc_ids[0, :-1][is_learned] == rows.doc_ids[0, 1:][is_learned]).all()


def test_a_label_is_no_part_of_the_document_it_was_cut_from():
    segment = cut_segment(SIX, 0, 6, "answers")
    segment.labels[:] = 0
    assert SIX.tokens.tolist() == [10, 11, 12, 13, 14, 15]


def test_no_rows_are_empty_tensors():
    rows = assemble([], 4)
    assert rows.tokens.shape == rows.labels.shape == rows.doc_ids.shape == (0, 4)
    assert (rows.num_tokens, rows.num_labels) == (0, 0)
