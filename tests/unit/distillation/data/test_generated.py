import pytest
import torch

from timetrial.error import UsageError
from timetrial_distillation.data.generated import NutshellRows
from timetrial_distillation.data.rows import IGNORED
from timetrial_plugins.nutshell.generator import test_problems


def documents(rows, encoder):
    for tokens, doc_ids in zip(rows.tokens, rows.doc_ids, strict=True):
        for number in range(int(doc_ids.max()) + 1):
            text = encoder._tokenizer.decode(tokens[doc_ids == number].tolist())
            if text.startswith("<|begin|>"):
                yield text


def test_rows_are_full_of_problems_and_none_comes_twice(encoder):
    rows = NutshellRows(encoder, 512).rows(0, 96)
    assert rows.num_tokens > 0.94 * rows.tokens.numel()
    texts = list(documents(rows, encoder))
    assert len(set(texts)) == len(texts) > 350
    assert all(text.count("<|user|>") == 1 and text.endswith("<|end|>") for text in texts)


def test_no_problem_of_the_test_set_is_there(encoder):
    rows = NutshellRows(encoder, 512).rows(0, 96)
    tested = {problem.text for problem in test_problems()}
    assert not tested & {text.split("<|user|>")[1].split("<|end|>")[0] for text in documents(rows, encoder)}


def test_only_solutions_are_learned(encoder):
    rows = NutshellRows(encoder, 256).rows(3, 4)
    learned = encoder._tokenizer.decode(rows.labels[rows.labels != IGNORED].tolist())
    assert "<|user|>" not in learned and "<|assistant|>" not in learned
    assert learned.count("The final answer is") == learned.count("<|end|>") == len(list(documents(rows, encoder)))


@pytest.mark.parametrize("position", [0, 31, 32, 70])
def test_a_row_needs_none_of_those_before_it(encoder, position):
    whole = NutshellRows(encoder, 256, seed=5).rows(0, 80)
    alone = NutshellRows(encoder, 256, seed=5).rows(position, 3)
    assert torch.equal(alone.tokens, whole.tokens[position : position + 3])
    assert torch.equal(alone.labels, whole.labels[position : position + 3])


def test_the_digest_tells_apart_everything_that_changes_rows(encoder):
    sources = [
        NutshellRows(encoder, 256),
        NutshellRows(encoder, 512),
        NutshellRows(encoder, 256, seed=1),
        NutshellRows(encoder, 256, supervise="all"),
    ]
    assert len({source.digest for source in sources}) == 4
    assert NutshellRows(encoder, 256).digest == sources[0].digest
    assert sources[0].tokenizer_digest == encoder.digest


def test_rows_that_are_too_short_are_refused(encoder):
    with pytest.raises(UsageError, match="rows of 64 tokens are too short"):
        NutshellRows(encoder, 64)


def test_a_tokenizer_that_cannot_mark_the_solutions_is_refused(make_encoder):
    encoder = make_encoder("{{ raise_exception('closed') }}")
    with pytest.raises(UsageError, match="cannot encode the nutshell's problems: refused by the chat template"):
        NutshellRows(encoder, 2048)
