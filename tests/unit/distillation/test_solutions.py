import pytest
import torch

from timetrial.error import UsageError
from timetrial_distillation.solutions import SolutionObjective, SolutionStream
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
def tokenizer(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(path)
    return load_tokenizer(path)


def test_the_solution_and_its_end_are_learned_and_the_prompt_is_not(tokenizer):
    stream = SolutionStream(batch_examples=1, num_batches=1)
    (batch,) = SolutionObjective(stream, tokenizer).batches(5)
    problem = training_problem(0, 5)
    learned = batch.labels[0][batch.labels[0] >= 0].tolist()
    assert tokenizer.decode(learned) == problem.solution + "<|end|>"
    seen = tokenizer.decode(batch.tokens[0].tolist())
    assert seen == f"<|begin|><|user|>{problem.text}<|end|><|assistant|>{problem.solution}"
    first = int((batch.labels[0] >= 0).nonzero()[0])
    assert tokenizer.decode([int(batch.tokens[0, first])]) == "<|assistant|>"


def test_labels_are_the_next_inputs(tokenizer):
    for batch in SolutionObjective(SolutionStream(batch_examples=8), tokenizer).batches(0):
        is_learned = (batch.labels[:, :-1] >= 0) & (batch.labels[:, 1:] >= 0)
        assert torch.equal(batch.labels[:, :-1][is_learned], batch.tokens[:, 1:][is_learned])


def test_steps_take_the_stream_in_order_and_batches_waste_little(tokenizer):
    stream = SolutionStream(batch_examples=32, num_batches=4)
    objective = SolutionObjective(stream, tokenizer)
    wanted = [training_problem(0, index).text for index in range(32, 64)]
    batches = objective.batches(1)
    rows = [row for batch in batches for row in batch.tokens]
    texts = [tokenizer.decode(row).split("<|user|>")[1].split("<|end|>")[0] for row in rows]
    assert sorted(texts) == sorted(wanted)
    padded = sum(batch.tokens.numel() for batch in batches)
    assert sum(batch.num_tokens for batch in batches) > 0.8 * padded


def test_the_curriculum_raises_the_highest_level_evenly(tokenizer):
    stream = SolutionStream(batch_examples=20, num_batches=1, easy_problems=100)
    objective = SolutionObjective(stream, tokenizer)
    for step in range(7):
        highest = min(step + 1, 5)
        wanted = [training_problem(0, 20 * step + i, highest).text for i in range(20)]
        (batch,) = objective.batches(step)
        texts = [tokenizer.decode(row).split("<|user|>")[1] for row in batch.tokens]
        assert sorted(text.split("<|end|>")[0] for text in texts) == sorted(wanted)


def test_padding_does_not_change_the_loss(tokenizer):
    model = Llama(TINY)
    totals = []
    for num_batches in (1, 8):
        objective = SolutionObjective(SolutionStream(batch_examples=8, num_batches=num_batches), tokenizer)
        batches = objective.batches(0)
        totals.append(sum(objective.loss(model, batch).item() for batch in batches))
    assert totals[0] == pytest.approx(totals[1], rel=1e-5)


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
