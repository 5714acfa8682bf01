"""From a stage to an optimizer: what is frozen, what decays, and that rows which are not trained never move."""

import pytest
import torch

from timetrial_distillation.objectives.parameters import (
    RowDecay,
    decays,
    freeze_others,
    parameter_groups,
    tabulate,
)
from timetrial_distillation.objectives.stage import WHOLE


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.part = torch.nn.Linear(3, 4)
        self.norm = torch.nn.LayerNorm(4)
        self.A_log = torch.nn.Parameter(torch.ones(4, 2))
        self.other = torch.nn.Linear(4, 2, bias=False)


TRAINED = {"part.weight": (slice(1, 3),), "part.bias": (slice(1, 3),), "A_log": WHOLE, "other.weight": WHOLE}


@pytest.fixture
def model():
    model = Model()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    return model


def train(model, weight_decay, *, hook):
    """Three steps of AdamW in which only the middle rows of `part` matter."""
    freeze_others(model, TRAINED)
    optimizer = torch.optim.AdamW(parameter_groups(model, TRAINED, weight_decay), lr=0.1)
    if hook:
        RowDecay(model, TRAINED, weight_decay).attach(optimizer)
    for step in range(3):
        for group in optimizer.param_groups:
            group["lr"] = 0.1 / (step + 1)
        optimizer.zero_grad()
        hidden = model.part(torch.ones(3))[1:3]
        (hidden.square().sum() + model.other.weight.sum() + model.A_log.sum()).backward()
        optimizer.step()
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def test_rows_that_are_not_trained_stay_as_they_are_to_the_bit(model):
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    after = train(model, 0.5, hook=True)
    for rows in (slice(0, 1), slice(3, 4)):
        assert torch.equal(after["part.weight"][rows], before["part.weight"][rows])
    assert torch.equal(after["norm.weight"], before["norm.weight"])


def test_trained_rows_decay_exactly_as_adamw_decays_a_tensor_of_their_own(model):
    weight, bias = (parameter.detach()[1:3].clone().requires_grad_() for parameter in model.part.parameters())
    after = train(model, 0.5, hook=True)
    optimizer = torch.optim.AdamW([{"params": [weight], "weight_decay": 0.5}, {"params": [bias], "weight_decay": 0.0}])
    for step in range(3):
        for group in optimizer.param_groups:
            group["lr"] = 0.1 / (step + 1)
        optimizer.zero_grad()
        (weight @ torch.ones(3) + bias).square().sum().backward()
        optimizer.step()
    torch.testing.assert_close(after["part.weight"][1:3], weight.detach(), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(after["part.bias"][1:3], bias.detach(), rtol=1e-6, atol=1e-7)


def test_matrices_and_convolutions_decay_and_rates_norms_and_biases_do_not():
    matrix, vector = torch.zeros(3, 2), torch.zeros(3)
    assert decays("mixer.in_proj.weight", matrix) and decays("conv1d.weight", torch.zeros(3, 1, 4))
    assert not decays("mamba.A_log", matrix)
    assert not any(decays(name, vector) for name in ("norm.weight", "mixer.D", "z_bias", "dt_bias", "conv1d.bias"))


def test_groups_hold_each_trained_parameter_once_and_nothing_else(model):
    decayed, plain = parameter_groups(model, TRAINED, 0.1)
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    assert [id(p) for p in decayed["params"]] == [id(model.other.weight)]
    assert {id(p) for p in plain["params"]} == {id(p) for p in (model.part.weight, model.part.bias, model.A_log)}


def test_decay_of_everything_leaves_out_no_parameter_that_is_trained_whole(model):
    decayed, plain = parameter_groups(model, TRAINED, 0.1, decay_all=True)
    assert {id(p) for p in decayed["params"]} == {id(model.A_log), id(model.other.weight)}
    assert len(plain["params"]) == 2
    before = model.part.bias.detach().clone()
    optimizer = torch.optim.SGD(parameter_groups(model, TRAINED, 0), lr=0.5)
    RowDecay(model, TRAINED, 0.2, decay_all=True).attach(optimizer)
    optimizer.step()
    assert torch.equal(model.part.bias, before)  # as AdamW, which leaves alone what has no gradient
    model.part.bias.grad = torch.zeros(4)
    optimizer.step()
    torch.testing.assert_close(model.part.bias.detach(), before * torch.tensor([1.0, 0.9, 0.9, 1.0]))


def test_the_table_counts_the_rows_that_are_trained(model):
    table = {line.name: line for line in tabulate(model, TRAINED)}
    assert list(table) == ["A_log", "part.weight", "part.bias", "other.weight"]
    line = table["part.weight"]
    assert (line.shape, line.num_rows, line.num_trained, line.decays) == ((4, 3), 2, 6, True)
    assert table["A_log"].num_trained == 8 and not table["A_log"].decays


def test_exactly_the_trained_parameters_require_gradients(model):
    freeze_others(model, TRAINED)
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == TRAINED.keys()
