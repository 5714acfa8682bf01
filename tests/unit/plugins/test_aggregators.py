import subprocess
import sys

import numpy as np
import pytest

import timetrial
from timetrial.config import RunConfig
from timetrial.testing import AggregatorContract
from timetrial_plugins.aggregators import plugin


def specs():
    return {spec.name: spec for spec in plugin.timetrial_aggregators()}


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    return timetrial.VoteTable(
        problems=tuple(f"p{row}" for row in range(40)),
        classes=rng.integers(-1, 5, (40, 12)),
        correct=rng.random((40, 5)) < 0.3,
        scores=rng.random((40, 12)),
    )


@pytest.mark.parametrize("name", specs())
class TestBuiltInAggregators(AggregatorContract):
    @pytest.fixture
    def aggregator(self, name):
        return specs()[name].make()


def test_the_names_are_those_a_run_uses_by_default():
    assert tuple(specs()) == RunConfig(models=("m",)).aggregators


@pytest.mark.parametrize("name", ["majority", "best-of-n"])
def test_the_exact_forms_are_what_choosing_comes_to(name, table):
    aggregator = specs()[name].make()
    assert isinstance(aggregator, timetrial.ExactAggregator)
    ks = [1, 2, 5, 11]
    estimate = timetrial.monte_carlo_at_k(table, aggregator, ks)
    exact = aggregator.expected_accuracy(table, ks)
    assert (np.abs(estimate.values.mean(axis=0) - exact.mean(axis=0)) <= 4 * estimate.monte_carlo_errors + 1e-12).all()


def test_weighted_chooses_as_its_estimator_does(table):
    aggregator = specs()["weighted"].make()
    assert not isinstance(aggregator, timetrial.ExactAggregator)
    ks = [1, 3, 8]
    chosen, estimated = timetrial.monte_carlo_at_k(table, aggregator, ks), timetrial.weighted_at_k(table, ks)
    np.testing.assert_array_equal(chosen.values, estimated.values)


def test_the_three_rules_choose_by_votes_by_the_best_and_by_the_sum():
    classes = np.array([[0, 0, 0, 1, 1, 2]])
    scores = np.array([[0.1, 0.1, 0.1, 0.4, 0.4, 0.7]])
    chosen = {name: int(spec.make().choose(classes, scores)[0]) for name, spec in specs().items()}
    assert chosen == {"majority": 0, "best-of-n": 2, "weighted": 1}


def test_offering_the_aggregators_imports_neither_torch_nor_numpy():
    code = (
        "import sys; from timetrial_plugins.aggregators import plugin; plugin.timetrial_aggregators(); "
        "print(sorted({'torch', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
