import numpy as np
import pytest
import torch

from timetrial.error import UnknownNameError, UsageError
from timetrial_distillation.data.plan import PlanConfig
from timetrial_distillation.data.rows import IGNORED
from timetrial_distillation.rewards.data import LabelData
from timetrial_distillation.rewards.rows import LabelledRows, Reading
from timetrial_plugins.models.tokenizer import ChatTokenizer
from timetrial_plugins.nutshell.tokenizer import write_tokenizer
from timetrial_plugins.rewards.declaration import Declaration
from timetrial_plugins.rewards.formats.rlhflow import RlhflowFormat

PROCESS = Declaration(format="rlhflow", splitter="blank-line")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    return folder


def data(*solutions, digest="d"):
    return LabelData(names=("n",), digest=digest, solutions=tuple(solutions), left_out={}, requests=())


@pytest.fixture
def make_rows(tokenizer):
    def make(solutions, length=64, **reading):
        values = {"declaration": PROCESS, "labels": "soft"} | reading
        return LabelledRows(data(*solutions), Reading(**values), tokenizer, PlanConfig(length=length))

    return make


def test_the_tokens_are_those_the_format_scores_and_labels_stand_where_it_reads(make_rows, tokenizer, solution):
    labelled = solution([4, 1, 0])
    rows = make_rows([labelled]).rows(0, 1)
    encoded = RlhflowFormat(ChatTokenizer(tokenizer)).encode(labelled.problem, labelled.steps)
    assert tuple(rows.tokens[0, : len(encoded.tokens)].tolist()) == encoded.tokens
    assert tuple(torch.nonzero(rows.labels[0] != IGNORED)[:, 0].tolist()) == encoded.positions
    assert rows.shares[0, list(encoded.positions)].tolist() == [1.0, 0.25, 0.0]
    assert rows.shares.sum() == 1.25
    assert rows.num_labels == 3


def test_the_label_is_the_token_whose_probability_is_the_score(make_rows, tokenizer, solution):
    rows = make_rows([solution([0, 1])])
    (plus,) = ChatTokenizer(tokenizer).encode("+")
    chosen = rows.rows(0, 1).labels
    assert set(chosen[chosen != IGNORED].tolist()) == {plus} == {rows.labels.plus}


def test_earlier_replies_are_plus_or_the_labels_as_asked(make_rows, solution):
    labelled = [solution([4, 0, 1])]
    plus, told = (make_rows(labelled, labels="hard", replies=replies) for replies in ("plus", "labels"))
    same, other = plus.rows(0, 1), told.rows(0, 1)
    places = torch.nonzero(same.tokens[0] != other.tokens[0])[:, 0].tolist()
    read = torch.nonzero(same.labels[0] != IGNORED)[:, 0].tolist()
    assert places == [read[1] + 1]  # behind the only wrong step that has others after it
    assert same.tokens[0, places].tolist() == [plus.labels.plus]
    assert other.tokens[0, places].tolist() == [plus.labels.minus]
    assert same.shares.equal(other.shares) and same.labels.equal(other.labels)


def test_solutions_packed_into_a_row_keep_their_own_targets(make_rows, solution):
    labelled = [solution([number % 5, 1], problem=str(number)) for number in range(12)]
    rows = make_rows(labelled, length=128)
    seen = []
    made = rows.rows(0, rows.rows_per_epoch())
    for tokens, labels, shares, documents in zip(made.tokens, made.labels, made.shares, made.doc_ids, strict=True):
        for document in documents.unique().tolist():
            mine = (documents == document) & (labels != IGNORED)
            if mine.any():
                seen.append(tuple(shares[mine].tolist()))
        assert shares[labels == IGNORED].sum() == 0
        assert tokens.shape == (128,)
    assert sorted(seen) == sorted(item.targets("soft") for item in labelled)


def test_a_row_is_a_function_of_its_number(make_rows, solution):
    labelled = [solution([number % 5, 1], problem=str(number)) for number in range(12)]
    whole, again = make_rows(labelled).rows(0, 9), make_rows(labelled)
    for number in (8, 0, 3):
        alone = again.rows(number, 1)
        assert alone.tokens.equal(whole.tokens[number : number + 1])
        assert alone.shares.equal(whole.shares[number : number + 1])


def test_an_outcome_model_reads_the_whole_solution_and_learns_whether_it_is_right(make_rows, solution):
    outcome = Declaration(format="outcome", splitter="whole")
    rows = make_rows([solution([0, 4, 0])], declaration=outcome).rows(0, 1)
    assert rows.num_labels == 1 and rows.shares.sum() == 0
    assert make_rows([solution([0, 0, 1])], declaration=outcome).rows(0, 1).shares.sum() == 1


def test_solutions_longer_than_a_row_are_left_out_and_counted(make_rows, solution):
    rows = make_rows([solution([1, 1]), solution([1] * 40)])
    assert rows.num_too_long == 1
    assert rows.rows_per_epoch() == 1
    with pytest.raises(UsageError, match="no document fits into a row of 64 tokens"):
        make_rows([solution([1] * 40)])


def test_the_digest_changes_with_everything_that_changes_rows(tokenizer, solution):
    def digest(digest="d", length=64, seed=0, **reading):
        values = {"declaration": PROCESS} | reading
        plan = PlanConfig(length=length, seed=seed)
        return LabelledRows(data(solution([1, 1]), digest=digest), Reading(**values), tokenizer, plan).digest

    changed = [digest("e"), digest(length=65), digest(seed=1), digest(labels="soft"), digest(replies="labels")]
    assert len({digest(), *changed}) == 6
    assert digest() == digest()


def test_formats_that_cannot_be_trained_so_are_refused(make_rows, solution):
    with pytest.raises(UsageError, match="has no replies to earlier steps"):
        make_rows([solution([1])], declaration=Declaration(format="outcome", splitter="whole"), replies="labels")
    with pytest.raises(UsageError, match="single tokens|head of its own"):
        make_rows([solution([1])], declaration=Declaration(format="skywork-prm", splitter="newline"))
    with pytest.raises(UnknownNameError, match="did you mean 'soft'"):
        Reading(declaration=PROCESS, labels="sofd")
    with pytest.raises(UnknownNameError, match="did you mean 'plus'"):
        Reading(declaration=PROCESS, replies="plos")


def test_rows_are_moved_with_their_shares(make_rows, solution):
    moved = make_rows([solution([1, 1])]).rows(0, 1).to(torch.device("meta"))
    assert {part.device.type for part in (moved.tokens, moved.labels, moved.doc_ids, moved.shares)} == {"meta"}
    assert np.isclose(moved.num_labels, 2)
