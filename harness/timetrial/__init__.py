"""Which reasoning model, how many samples and which way of choosing solve most problems in T seconds.

This is everything a plugin or a script needs: `import timetrial` and nothing else. It imports neither torch nor numpy;
what needs them is loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from timetrial.clock import Clock
from timetrial.config import RunConfig, TimingGrid, data_file
from timetrial.engines import EngineInput, EngineSpec, TimedModel
from timetrial.error import (
    CheckpointError,
    ConfigMismatchError,
    DataError,
    PluginError,
    RunError,
    RunLockedError,
    TimetrialError,
    UnknownNameError,
    UsageError,
)
from timetrial.hookspec import hookimpl
from timetrial.protocol import (
    Aggregator,
    ExactAggregator,
    Generation,
    Grader,
    Model,
    OutOfMemory,
    PhaseTimes,
    Reading,
    Request,
    RewardModel,
    Sampling,
    ScoreTime,
    StepCost,
    Task,
    TimedRewardModel,
    Tokenizer,
    Unscored,
    WeighingAggregator,
)
from timetrial.rates import MachineRates
from timetrial.record import (
    Completion,
    Count,
    Curve,
    Grade,
    Message,
    Problem,
    Prompt,
    SampleKey,
    ScoreTiming,
    Series,
    StepScores,
    Timing,
    Verdict,
)
from timetrial.spec import (
    AggregatorSpec,
    Architecture,
    CheckpointSpec,
    CommandSpec,
    GraderSpec,
    LoadOptions,
    ModelSpec,
    RewardModelSpec,
    TaskSpec,
)

if TYPE_CHECKING:
    from timetrial.loading import load_model, random_model
    from timetrial.runner import Run, run
    from timetrial.statistics.best_of import best_of_k
    from timetrial.statistics.choice import best_of_choice, majority_choice, weighted_choice
    from timetrial.statistics.coverage import pass_at_k, pass_at_k_from_counts
    from timetrial.statistics.majority import majority_at_k
    from timetrial.statistics.monte_carlo import Estimate, monte_carlo_at_k
    from timetrial.statistics.table import VoteTable
    from timetrial.statistics.weighted import weighted_at_k

__version__ = "0.1.0"

_ON_FIRST_USE = {
    "Estimate": "timetrial.statistics.monte_carlo",
    "Run": "timetrial.runner",
    "VoteTable": "timetrial.statistics.table",
    "best_of_choice": "timetrial.statistics.choice",
    "best_of_k": "timetrial.statistics.best_of",
    "load_model": "timetrial.loading",
    "majority_at_k": "timetrial.statistics.majority",
    "majority_choice": "timetrial.statistics.choice",
    "monte_carlo_at_k": "timetrial.statistics.monte_carlo",
    "pass_at_k": "timetrial.statistics.coverage",
    "pass_at_k_from_counts": "timetrial.statistics.coverage",
    "random_model": "timetrial.loading",
    "run": "timetrial.runner",
    "weighted_at_k": "timetrial.statistics.weighted",
    "weighted_choice": "timetrial.statistics.choice",
}

__all__ = [
    "Aggregator",
    "AggregatorSpec",
    "Architecture",
    "CheckpointError",
    "CheckpointSpec",
    "Clock",
    "CommandSpec",
    "Completion",
    "ConfigMismatchError",
    "Count",
    "Curve",
    "DataError",
    "EngineInput",
    "EngineSpec",
    "Estimate",
    "ExactAggregator",
    "Generation",
    "Grade",
    "Grader",
    "GraderSpec",
    "LoadOptions",
    "MachineRates",
    "Message",
    "Model",
    "ModelSpec",
    "OutOfMemory",
    "PhaseTimes",
    "PluginError",
    "Problem",
    "Prompt",
    "Reading",
    "Request",
    "RewardModel",
    "RewardModelSpec",
    "Run",
    "RunConfig",
    "RunError",
    "RunLockedError",
    "SampleKey",
    "Sampling",
    "ScoreTime",
    "ScoreTiming",
    "Series",
    "StepCost",
    "StepScores",
    "Task",
    "TaskSpec",
    "TimedModel",
    "TimedRewardModel",
    "TimetrialError",
    "Timing",
    "TimingGrid",
    "Tokenizer",
    "UnknownNameError",
    "Unscored",
    "UsageError",
    "Verdict",
    "VoteTable",
    "WeighingAggregator",
    "__version__",
    "best_of_choice",
    "best_of_k",
    "data_file",
    "hookimpl",
    "load_model",
    "majority_at_k",
    "majority_choice",
    "monte_carlo_at_k",
    "pass_at_k",
    "pass_at_k_from_counts",
    "random_model",
    "run",
    "weighted_at_k",
    "weighted_choice",
]


def __getattr__(name: str) -> Any:  # Any: whatever the module defines under that name
    if name not in _ON_FIRST_USE:
        raise AttributeError(f"module 'timetrial' has no attribute {name!r}")
    return getattr(import_module(_ON_FIRST_USE[name]), name)
