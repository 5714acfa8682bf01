"""A version's figures in the two forms the Hub reads: model-index entries, and `.eval_results/*.yaml` files.

The first is the older form and takes any data set; the second knows only data sets of the Hub that define tasks for a
leaderboard, so a figure gets there only if its data set is said to be one. Shares are written in percent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from timetrial_registry.error import RegistryError
from timetrial_registry.figures import SHARES
from timetrial_registry.records import Metric

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

EVALUATION_FOLDER = ".eval_results"


@dataclass(frozen=True, kw_only=True, slots=True)
class Benchmark:
    """The Hub's name for the problems that figures are about."""

    dataset: str
    """A data set on the Hub, for example HuggingFaceH4/MATH-500."""
    task: str
    """One of the tasks that the data set defines for its leaderboard."""


Benchmarks = Mapping[str, Benchmark]
"""By the figures' name for the data set."""


def parse_benchmarks(texts: Iterable[str]) -> dict[str, Benchmark]:
    """Read `DATA=HUB_DATASET:TASK` pairs.

    Raises:
        RegistryError: one has another form.
    """
    found = {}
    for text in texts:
        match = re.fullmatch(r"(?P<data>[^=]+)=(?P<hub>[\w.-]+/[\w.-]+):(?P<task>[\w.-]+)", text)
        if match is None:
            raise RegistryError(
                f"{text!r} names no benchmark of the Hub: expected DATA=OWNER/DATASET:TASK, for example "
                "math-500=HuggingFaceH4/MATH-500:math_500"
            )
        found[match["data"]] = Benchmark(dataset=match["hub"], task=match["task"])
    return found


def model_index(figures: Iterable[Metric], benchmarks: Benchmarks) -> Iterator[EvalResult]:
    """Yield the entries of a card's model-index."""
    from huggingface_hub import EvalResult

    for metric in figures:
        benchmark = benchmarks.get(metric.dataset)
        # The library keeps one description of a data set for all its results: what differs goes with the metric.
        error = None if metric.stderr is None else scaled(metric, metric.stderr)
        details = {**metric.params, "stderr": error, "problems": metric.n, "run": metric.run_digest}
        yield EvalResult(
            task_type="text-generation",
            dataset_type=benchmark.dataset if benchmark else _slug(metric.dataset),
            dataset_name=metric.dataset,
            dataset_split=metric.split,
            dataset_revision=metric.revision,
            metric_type=_metric_type(metric),
            metric_name=figure_name(metric),
            metric_value=scaled(metric, metric.value),
            metric_args={name: value for name, value in details.items() if value is not None},
        )


def evaluation_files(figures: Iterable[Metric], benchmarks: Benchmarks, source_url: str | None) -> dict[str, str]:
    """Return the `.eval_results` files by path: the figures of data sets that the Hub has a name for.

    `source_url` is where the figures can be read, the repository itself for example.
    """
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
    from huggingface_hub.utils import yaml_dump  # type: ignore[attr-defined]  # left out of its list of exports

    entries: dict[str, list[EvalResultEntry]] = {}
    for metric in figures:
        if (benchmark := benchmarks.get(metric.dataset)) is None:
            continue
        entry = EvalResultEntry(
            dataset_id=benchmark.dataset,
            task_id=benchmark.task,
            value=scaled(metric, metric.value),
            date=metric.at and metric.at[:10],
            source_url=source_url,
            notes=_notes(metric),
        )
        entries.setdefault(f"{EVALUATION_FOLDER}/{_slug(metric.dataset)}.yaml", []).append(entry)
    return {path: yaml_dump(eval_result_entries_to_yaml(listed)) for path, listed in entries.items()}


def figure_name(metric: Metric) -> str:
    """Name a figure for people, its number of samples left out."""
    rule, scorer = metric.params.get("aggregator"), metric.params.get("reward_model")
    temperature = metric.params.get("temperature")
    parts = [metric.metric if rule is None else f"{metric.metric}, {rule}"]
    parts += [f"scores of {scorer}, {metric.params.get('reduction')}"] if scorer else []
    parts += [f"gamma {metric.params['gamma']:g}"] if "gamma" in metric.params else []
    parts += [f"T = {temperature:g}"] if temperature is not None else []
    parts += [f"seconds of {metric.params['accounting']}"] if "accounting" in metric.params else []
    return ", ".join(parts)


def scaled(metric: Metric, value: float) -> float:
    """Return a metric's value, or its error, as cards show it: shares in percent."""
    return round(100 * value, 2) if metric.metric in SHARES else value


def _metric_type(metric: Metric) -> str:
    return f"pass@{metric.params['k']}" if metric.metric == "coverage" and "k" in metric.params else metric.metric


def _notes(metric: Metric) -> str:
    samples = metric.params.get("k")
    drawn = samples and (f"{samples} samples" if samples > 1 else "1 sample")
    counted = metric.n and f"{metric.n} problems"
    return ", ".join(part for part in (figure_name(metric), drawn, counted) if part)


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "data"
