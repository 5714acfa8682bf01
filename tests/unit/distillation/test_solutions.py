import pytest
import torch

from timetrial.error import UsageError
from timetrial_distillation.data.rows import IGNORED
from timetrial_distillation.objectives.end_to_end import EndToEnd
from timetrial_distillation.objectives.token_loss import TokenLoss
from timetrial_distillation.solutions import SolutionRows, SolutionStream
from timetrial_plugins.models.llama import Llama, LlamaConfig
from timetrial_plugins.nutshell.generator import training_problem
from timetrial_plugins.nutshell.tokenizer import load_tokenizer, write_tokenizer

TINY = LlamaConfig(
    vocab_size=600,
    hidden_size=16,
    intermediate_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=8,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(path)
    return path


@pytest.fixture(scope="module")
def tokenizer(folder):
    return load_tokenizer(folder)


def problems_of(tokenizer, rows):
    return sorted(tokenizer.decode(row).split("<|user|>")[1].split("<|end|>")[0] for row in rows.tokens)


def test_the_solution_and_its_end_are_learned_and_the_prompt_is_not(folder, tokenizer):
    rows = SolutionRows(SolutionStream(batch_examples=1, num_batches=1), folder).rows(5, 1)
    problem = training_problem(0, 5)
    learned = rows.labels[0][rows.labels[0] >= 0].tolist()
    assert tokenizer.decode(learned) == problem.solution + "<|end|>"
    seen = tokenizer.decode(rows.tokens[0].tolist())
    assert seen == f"<|begin|><|user|>{problem.text}<|end|><|assistant|>{problem.solution}"
    first = int((rows.labels[0] >= 0).nonzero()[0])
    assert tokenizer.decode([int(rows.tokens[0, first])]) == "<|assistant|>"
    assert (rows.num_tokens, rows.num_labels) == (rows.tokens.numel(), len(learned))


def test_labels_are_the_next_inputs(folder):
    rows = SolutionRows(SolutionStream(batch_examples=8), folder).rows(0, 8)
    is_learned = (rows.labels[:, :-1] >= 0) & (rows.labels[:, 1:] >= 0)
    assert torch.equal(rows.labels[:, :-1][is_learned], rows.tokens[:, 1:][is_learned])


def test_lots_take_the_stream_in_order_and_sorted_parts_waste_little(folder, tokenizer):
    source = SolutionRows(SolutionStream(batch_examples=32), folder)
    wanted = sorted(training_problem(0, index).text for index in range(32, 64))
    parts = [source.rows(start, 8) for start in range(32, 64, 8)]
    assert sorted(text for part in parts for text in problems_of(tokenizer, part)) == wanted
    assert sum(part.num_tokens for part in parts) > 0.8 * sum(part.tokens.numel() for part in parts)


def test_rows_are_a_function_of_their_number_and_padding_is_a_document_of_its_own(folder):
    source = SolutionRows(SolutionStream(batch_examples=4), folder)
    together, alone = source.rows(2, 4), SolutionRows(SolutionStream(batch_examples=4), folder).rows(3, 1)
    length = alone.tokens.shape[1]
    assert torch.equal(together.tokens[1, :length], alone.tokens[0])
    assert together.doc_ids[1].tolist() == [0] * length + [1] * (together.tokens.shape[1] - length)
    assert (together.labels[1, length:] == IGNORED).all()


def test_the_curriculum_raises_the_highest_level_evenly(folder, tokenizer):
    source = SolutionRows(SolutionStream(batch_examples=20, num_batches=1, easy_problems=100), folder)
    for step in range(7):
        highest = min(step + 1, 5)
        wanted = sorted(training_problem(0, 20 * step + i, highest).text for i in range(20))
        assert problems_of(tokenizer, source.rows(20 * step, 20)) == wanted


def test_padding_does_not_change_the_loss(folder):
    model, objective = Llama(TINY), EndToEnd(token_loss=TokenLoss(kl_weight=0.0))
    source = SolutionRows(SolutionStream(batch_examples=8), folder)
    whole = objective.measure(model, source.rows(0, 8)).loss_sum.item()
    parts = sum(objective.measure(model, source.rows(place, 1)).loss_sum.item() for place in range(8))
    assert parts == pytest.approx(whole, rel=1e-5)


def test_the_digest_is_that_of_the_choices(folder):
    first, again, other = (SolutionRows(SolutionStream(seed=seed), folder).digest for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_batches": 9}, "num_batches is 9"),
        ({"num_batches": 0}, "num_batches is 0"),
        ({"batch_examples": 0}, "batch_examples"),
        ({"easy_problems": -1}, "easy_problems is -1"),
    ],
)
def test_impossible_batches_are_refused(change, message):
    with pytest.raises(UsageError, match=message):
        SolutionStream(**{"batch_examples": 8} | change)


def test_the_seed_changes_the_problems():
    assert SolutionStream(seed=1).problem(3).text != SolutionStream(seed=2).problem(3).text
