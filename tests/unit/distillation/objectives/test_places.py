"""Which places count, on rows made by hand."""

import torch

from timetrial_distillation.data.rows import IGNORED, Rows
from timetrial_distillation.objectives.places import all_labels, learned_documents


def make_rows(tokens, labels, documents):
    return Rows(*(torch.tensor([row]) for row in (tokens, labels, documents)), len(tokens), 0)


def test_padding_and_documents_without_labels_do_not_count():
    rows = make_rows(
        [7, 8, 9, 5, 3, 3],
        [IGNORED, 9, IGNORED, IGNORED, IGNORED, IGNORED],
        [4, 4, 4, 2, 9, 9],
    )
    assert learned_documents(rows).tolist() == [[True, True, True, False, False, False]]


def test_equal_ids_of_documents_that_are_apart_are_not_confused_in_other_rows():
    tokens = torch.zeros(2, 4, dtype=torch.long)
    labels = torch.tensor([[1, IGNORED, IGNORED, IGNORED], [IGNORED, IGNORED, 1, IGNORED]])
    rows = Rows(tokens, labels, torch.tensor([[0, 0, 1, 1], [0, 0, 1, 1]]), 8, 2)
    assert learned_documents(rows).tolist() == [[True, True, False, False], [False, False, True, True]]


def test_labels_at_prompts_are_the_next_tokens_of_the_same_document():
    """Six tokens: a prompt of two, an answer of two, then padding."""
    rows = make_rows([5, 6, 7, 8, 0, 0], [IGNORED, 7, 8, IGNORED, IGNORED, IGNORED], [0, 0, 0, 0, 1, 1])
    assert all_labels(rows).tolist() == [[6, 7, 8, IGNORED, IGNORED, IGNORED]]


def test_a_row_that_ends_within_a_document_has_no_label_at_its_end():
    rows = make_rows([5, 6, 7], [6, 7, IGNORED], [0, 0, 0])
    assert all_labels(rows).tolist() == [[6, 7, IGNORED]]
