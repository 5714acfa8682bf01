import json
import signal

import pytest
import torch

from timetrial.error import CheckpointError, UsageError
from timetrial.testing.fake import FakeClock
from timetrial_distillation.loop import Batch, LoopConfig, TrainingDivergedError, train
from timetrial_distillation.schedule import Schedule


class Doubling:
    """Learn to predict 2t mod 7 from t; each step has its own tokens, cut into batches."""

    def __init__(self, num_batches=1):
        self.num_batches = num_batches

    def batches(self, step):
        generator = torch.Generator().manual_seed(step)
        tokens = torch.randint(0, 7, (6, 5), generator=generator)
        labels = (2 * tokens) % 7
        labels[0, 1:] = -100
        cut = zip(
            tokens.tensor_split(self.num_batches),
            labels.tensor_split(self.num_batches),
            strict=True,
        )
        return [Batch(tokens=t, labels=y, num_tokens=t.numel()) for t, y in cut]

    def loss(self, model, batch):
        return torch.nn.functional.cross_entropy(
            model(batch.tokens).flatten(0, 1),
            batch.labels.flatten(),
            ignore_index=-100,
            reduction="sum",
        )


def make_model():
    model = torch.nn.Sequential(torch.nn.Embedding(7, 8), torch.nn.LayerNorm(8), torch.nn.Linear(8, 7))
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    return model


def make_config(**changes):
    values = {"num_steps": 20, "learning_rate": 0.05, "checkpoint_every": 6} | changes
    return LoopConfig(**values)


def run(folder, config, objective=None, report=lambda entry: None):
    folder.mkdir(exist_ok=True)
    model = make_model()
    objective = objective or Doubling()
    state = train(model, objective, config, folder, clock=FakeClock(), report=report)
    return model, state


def read_log(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def press_ctrl_c_at(step):
    def report(entry):
        if entry.step == step:
            signal.raise_signal(signal.SIGINT)

    return report


def assert_same_weights(one, other):
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_training_lowers_the_loss(tmp_path):
    run(tmp_path, make_config(num_steps=60))
    log = read_log(tmp_path)
    assert log[-1]["loss"] < 0.5 * log[0]["loss"]


@pytest.mark.parametrize("step", [1, 7, 12, 19])
def test_stopped_and_resumed_is_the_same_run_bit_for_bit(tmp_path, step):
    whole, _ = run(tmp_path / "whole", make_config())
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", make_config(), report=press_ctrl_c_at(step))
    assert len(read_log(tmp_path / "parts")) == step
    resumed, state = run(tmp_path / "parts", make_config())
    assert_same_weights(whole, resumed)
    assert read_log(tmp_path / "whole") == read_log(tmp_path / "parts")
    assert state.step == 20


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path):
    class PowerCut(Exception):
        pass

    def cut_power(entry):
        if entry.step == 15:
            raise PowerCut

    whole, _ = run(tmp_path / "whole", make_config())
    with pytest.raises(PowerCut):
        run(tmp_path / "parts", make_config(), report=cut_power)
    assert len(read_log(tmp_path / "parts")) == 15
    steps = []
    resumed, _ = run(tmp_path / "parts", make_config(), report=lambda entry: steps.append(entry.step))
    assert steps == list(range(13, 21))
    assert_same_weights(whole, resumed)
    assert read_log(tmp_path / "whole") == read_log(tmp_path / "parts")


def test_a_finished_run_is_left_as_it_is(tmp_path):
    first, _ = run(tmp_path, make_config())
    log = read_log(tmp_path)
    second, state = run(tmp_path, make_config())
    assert_same_weights(first, second)
    assert read_log(tmp_path) == log
    assert state.step == 20


def test_the_old_signal_handler_comes_back(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, make_config(), report=press_ctrl_c_at(3))
    assert signal.getsignal(signal.SIGINT) is before


def test_how_a_step_is_cut_into_batches_does_not_matter(tmp_path):
    config = make_config(clip_norm=1e6)
    one, _ = run(tmp_path / "one", config, Doubling(1))
    three, _ = run(tmp_path / "three", config, Doubling(3))
    for a, b in zip(one.parameters(), three.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_labels_of_minus_100_teach_nothing(tmp_path):
    class Blind(Doubling):
        def batches(self, step):
            (batch,) = super().batches(step)
            labels = batch.labels.masked_fill(batch.tokens == 3, -100)
            return [batch._replace(labels=labels)]

    config = make_config(weight_decay=0.0)
    model, _ = run(tmp_path, config, Blind())
    assert torch.equal(model[0].weight[3], make_model()[0].weight[3])
    assert not torch.equal(model[0].weight[2], make_model()[0].weight[2])


def test_only_matrices_decay(tmp_path):
    class Nothing(Doubling):
        def loss(self, model, batch):
            return 0.0 * super().loss(model, batch)

    config = make_config(num_steps=1, weight_decay=0.5, schedule=Schedule(warmup_fraction=0.0))
    model, _ = run(tmp_path, config, Nothing())
    for before, after in zip(make_model().parameters(), model.parameters(), strict=True):
        factor = 1 - 0.05 * 0.5 if before.ndim >= 2 else 1.0
        torch.testing.assert_close(after, before * factor)


def test_the_log_has_rate_tokens_and_seconds(tmp_path):
    run(tmp_path, make_config())
    log = read_log(tmp_path)
    assert [line["step"] for line in log] == list(range(1, 21))
    assert log[0]["learning_rate"] == pytest.approx(0.025)
    assert log[-1]["tokens_seen"] == 20 * 30
    assert log[-1]["elapsed_s"] == 20.0


def test_a_loss_that_is_no_number_ends_the_run(tmp_path):
    class Broken(Doubling):
        def loss(self, model, batch):
            return super().loss(model, batch) * float("nan")

    with pytest.raises(TrainingDivergedError, match="nan at step 1, .*lower learning rate"):
        run(tmp_path, make_config(), Broken())


def test_a_damaged_checkpoint_is_refused_by_name(tmp_path):
    run(tmp_path, make_config())
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt is no checkpoint"):
        run(tmp_path, make_config())


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    torch.save({"model": {}, "optimizer": {}, "state": {}}, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt"):
        run(tmp_path, make_config())


@pytest.mark.parametrize(
    "values",
    [
        {"num_steps": 0},
        {"learning_rate": -1.0},
        {"learning_rate": float("nan")},
        {"clip_norm": 0.0},
        {"weight_decay": -0.1},
        {"checkpoint_every": 0},
    ],
)
def test_impossible_values_are_refused_by_name(values):
    with pytest.raises(UsageError, match=next(iter(values))):
        make_config(**values)
