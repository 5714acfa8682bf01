import sys
import types

import pytest

from timetrial.error import UnknownNameError, UsageError
from timetrial_distillation.evaluation import Evaluation
from timetrial_distillation.loop import StepLog
from timetrial_distillation.trackers import check_trackers, evaluation_figures, opened_trackers, step_figures

ENTRY = StepLog(
    step=3,
    loss=0.5,
    learning_rate=0.1,
    gradient_norm=2.0,
    num_tokens=10,
    tokens_seen=30,
    elapsed_s=1.0,
    metrics={"layer_00": 0.2},
)


class FakeRun:
    def __init__(self, settings):
        self.settings, self.logged, self.is_finished = settings, [], False

    def log(self, figures, step):
        self.logged.append((step, figures))

    def finish(self):
        self.is_finished = True


@pytest.fixture
def wandb(monkeypatch):
    module = types.ModuleType("wandb")
    module.runs = []
    module.init = lambda **settings: module.runs.append(FakeRun(settings)) or module.runs[-1]
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def test_figures_reach_weights_and_biases_and_the_run_is_closed_after_an_error(wandb, tmp_path):
    check_trackers(["wandb"])
    with pytest.raises(KeyError):
        with opened_trackers(["wandb"], tmp_path, "mohawk-1", {"seed": 0}) as (tracker,):
            tracker.log(ENTRY.step, step_figures(ENTRY))
            raise KeyError
    (run,) = wandb.runs
    assert (run.settings["name"], run.settings["config"]) == ("mohawk-1", {"seed": 0})
    ((step, figures),) = run.logged
    assert (step, figures["loss"], figures["parts/layer_00"]) == (3, 0.5, 0.2)
    assert run.is_finished


def test_figures_reach_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with opened_trackers(["tensorboard"], tmp_path, "mohawk-1", {}) as (tracker,):
        tracker.log(ENTRY.step, step_figures(ENTRY))
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(3, 0.5)]


def test_coverage_is_shown_if_there_is_any():
    values = {"step": 1, "task": "nutshell", "num_problems": 9, "accuracy": 0.25, "temperature": 0.8}
    assert evaluation_figures(Evaluation(coverage=None, samples=0, **values)) == {"nutshell/acc@1": 0.25}
    assert evaluation_figures(Evaluation(coverage=0.5, samples=8, **values))["nutshell/pass@8"] == 0.5


def test_an_unknown_tracker_and_one_that_is_not_installed_are_refused(monkeypatch):
    with pytest.raises(UnknownNameError, match="did you mean 'tensorboard'"):
        check_trackers(["tensorbord"])
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UsageError, match=r"pip install 'timetrial\[wandb\]'"):
        check_trackers(["wandb"])
