import pytest

from timetrial.catalog import open_catalog
from timetrial.error import UnknownNameError, UsageError
from timetrial.hookspec import hookimpl
from timetrial.protocol import Unscored
from timetrial.spec import LoadOptions, RewardModelSpec
from timetrial.testing.fake import FakePlugin
from timetrial_distillation.rewards.data import LabelData
from timetrial_distillation.rewards.evaluation import evaluate_reward_model
from timetrial_distillation.rewards.reliability_figure import check_ending, write_reliability


class Oracle:
    """Scores a step by the number at its end; a solution that begins with "no" not at all."""

    def __init__(self, splitter="blank-line", border="\n\n"):
        self.description = {"kind": "oracle", "splitter": splitter}
        self._border = border

    def score(self, problem, prompt, completions):
        return [
            Unscored(reason="no steps: it says no")
            if completion.text.startswith("no")
            else tuple(float(step.rpartition(" ")[2]) for step in completion.text.split(self._border))
            for completion in completions
        ]


class Whole(Oracle):
    def score(self, problem, prompt, completions):
        return [(float(completion.text.rpartition(" ")[2]),) for completion in completions]


class Plugin:
    def __init__(self, model):
        self.model = model

    @hookimpl
    def timetrial_reward_models(self):
        return [RewardModelSpec(name="oracle", load=lambda ref, options: self.model, doc="Knows.")]


@pytest.fixture
def evaluate():
    def run(model, *solutions):
        data = LabelData(names=("n",), digest="d", solutions=solutions, left_out={}, requests=())
        catalog = open_catalog([FakePlugin("oracle", Plugin(model))])
        return evaluate_reward_model("oracle", data, catalog, LoadOptions())

    return run


@pytest.fixture
def labelled(solution):
    return [
        solution([4, 0, 0], problem="a", steps=("x 0.9", "y 0.2", "z 0.1"), truth=(True, False, False)),
        solution([4, 2, 1], problem="a", steps=("x 0.9", "y 0.8", "z 0.7"), truth=(True, True, True)),
        solution([1, 0], problem="b", steps=("no", "y 0.3")),
    ]


def test_each_kind_of_label_is_measured_on_the_solutions_that_have_it(evaluate, labelled):
    found = evaluate(Oracle(), *labelled, labelled[0].__class__(**{**labelled[1].to_json(), "truth": None}))
    assert {kind: quality.num_solutions for kind, quality in found.qualities.items()} == {
        "truth": 2,
        "hard": 3,
        "soft": 3,
    }
    assert found.qualities["truth"].step_auc == found.qualities["truth"].last_auc == 1.0
    assert found.qualities["truth"].first_errors.f1 == 1.0
    assert found.left_out == {"no steps": 1}
    assert found.qualities["soft"].share_right == pytest.approx((1 + 0 + 0 + 2 * (1 + 0.5 + 1)) / 9)


def test_steps_are_joined_as_the_model_splits_them(evaluate, labelled):
    found = evaluate(Oracle("newline", "\n"), *labelled[:2])
    assert found.qualities["hard"].num_steps == 6


def test_solutions_that_the_model_splits_otherwise_are_left_out_and_counted(evaluate, labelled, solution):
    odd = solution([1, 1], steps=("x 0.5\n\ny 0.5", "z 0.5"))
    assert evaluate(Oracle(), *labelled[:2], odd).left_out == {"split into other steps": 1}
    with pytest.raises(UsageError, match="scores none of the 1 solutions .1 split into other steps."):
        evaluate(Oracle(), odd)


def test_an_outcome_model_is_measured_on_the_labels_of_last_steps(evaluate, labelled):
    quality = evaluate(Whole("whole"), *labelled[:2]).qualities["hard"]
    assert (quality.num_steps, quality.step_auc, quality.last_auc) == (2, 1.0, 1.0)


def test_unknown_reward_models_are_refused():
    data = LabelData(names=("n",), digest="d", solutions=(), left_out={}, requests=())
    with pytest.raises(UnknownNameError, match="reward model"):
        evaluate_reward_model("oracel", data, open_catalog(), LoadOptions())


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_the_reliability_diagram_is_written_in_the_format_of_its_ending(evaluate, labelled, tmp_path, ending):
    path = tmp_path / f"figure.{ending}"
    write_reliability(evaluate(Oracle(), *labelled[:2]), path)
    assert path.read_bytes()[:5] in (b"<?xml", b"\x89PNG\r")
    with pytest.raises(UsageError, match="has the ending '.pdf'"):
        check_ending(tmp_path / "figure.pdf")
