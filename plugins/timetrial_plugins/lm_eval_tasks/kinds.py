"""Which tasks of lm-eval can be sampled, voted on and timed, and why the others cannot.

A task can be used if one completion has one answer that is right or wrong: it generates, its metric is exact_match on
what a filter leaves of the text alone, or it is graded by timetrial's own grader.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from timetrial.error import UnknownNameError, UsageError
from timetrial_plugins.lm_eval_tasks.reference import Reference

Config = Mapping[str, Any]  # Any: whatever YAML can hold
GraderName = Literal["exact", "math"]

TEXT_FILTERS = frozenset({"regex", "remove_whitespace", "lowercase", "uppercase", "take_first"})
"""Filters that look at nothing but the text. "map" gives another type, or votes; others read the document."""
MATHEMATICAL = ("aime", "hendrycks_math", "leaderboard_math_", "minerva_math")
"""How the names of tasks begin that compare formulas by functions of their own: timetrial's grader stands in."""
EXACT_MATCH_OPTIONS = ("regexes_to_ignore", "ignore_case", "ignore_punctuation", "ignore_numbers")
DEFAULT_METRICS: tuple[Config, ...] = ({"metric": "exact_match"},)
"""lm-eval's, of a generation task that names none."""
UNFILTERED: Config = {"name": "none", "filter": [{"function": "take_first"}]}
"""What lm-eval does to responses of a task that names no filter."""


class Reading(NamedTuple):
    """How the completions of a task are read and graded."""

    grader: GraderName
    filter: Config
    """The pipeline that finds the answer; one that leaves all of the text where timetrial's extraction does."""
    exact_match: Config
    """What exact_match ignores."""


def reading_of(name: str, config: Config, reference: Reference) -> Reading:
    """Return how a task is read and graded.

    Raises:
        UsageError: it is of a kind that cannot be used; says why, and what can be done instead. Or a filter is asked
            for where none is used.
        UnknownNameError: it has no filter of the name asked for.
    """
    if (reason := why_not_generated(config)) is not None:
        raise UsageError(f"the task {name!r} of lm-eval cannot be run here: {reason}")
    metrics = {metric["metric"]: metric for metric in config.get("metric_list") or DEFAULT_METRICS}
    own_code = config.get("process_results") is not None
    grader = reference.grader or ("math" if own_code and name.startswith(MATHEMATICAL) else "exact")
    if grader == "math":
        if reference.filter is not None:
            raise UsageError(
                f"lm-eval:{name}:filter={reference.filter} is read by timetrial's extraction, and no filter before it: "
                "leave the filter out"
            )
        return Reading("math", UNFILTERED, {})
    if own_code or "exact_match" not in metrics:
        how = "by a function of its own" if own_code else f"by {', '.join(map(_short, metrics))}"
        raise UsageError(
            f"the task {name!r} of lm-eval cannot be run here: it scores completions {how}, which gives no answer that "
            f"could be voted on; only exact_match does. If its answers are numbers or formulas, lm-eval:{name}:grader="
            "math reads and grades them by timetrial's grader"
        )
    options = {key: metrics["exact_match"][key] for key in metrics["exact_match"] if key in EXACT_MATCH_OPTIONS}
    return Reading("exact", _filter(name, config, reference.filter), options)


def why_not_generated(config: Config) -> str | None:
    """Return why a task has no completions to sample, or none that could be told right or wrong alone; else None."""
    output = config.get("output_type", "generate_until")
    if "class" in config:
        return "it is a Python class of its own, whose prompts and metrics are not declared"
    if output in ("multiple_choice", "loglikelihood"):
        return (
            f"it is of kind {output}, which compares likelihoods of given texts and draws nothing; "
            "`timetrial general` measures it"
        )
    if output == "loglikelihood_rolling":
        return "it measures perplexity, and nobody answers anything; `timetrial general` measures it"
    if config.get("doc_to_image") or config.get("doc_to_audio"):
        return "it shows pictures or plays sounds, and the models here read text"
    if config.get("unsafe_code"):
        return "it runs the code that models write"
    return None


def usable_filters(config: Config) -> dict[str, Config]:
    """Return the filter pipelines of a task that look at one text alone and leave one text, by name."""
    pipelines = config.get("filter_list") or (UNFILTERED,)
    return {pipeline["name"]: pipeline for pipeline in pipelines if not any(_faults(pipeline))}


def _filter(name: str, config: Config, wanted: str | None) -> Config:
    pipelines = {pipeline["name"]: pipeline for pipeline in config.get("filter_list") or (UNFILTERED,)}
    usable = usable_filters(config)
    if wanted is None and usable:
        return next(iter(usable.values()))
    if wanted is not None and wanted not in pipelines:
        raise UnknownNameError(f"filter of {name!r}", wanted, pipelines)
    if wanted in usable:
        return usable[wanted]
    faults = {fault for pipeline in pipelines.values() for fault in _faults(pipeline)}
    raise UsageError(
        f"the task {name!r} of lm-eval cannot be run here: its filters ({', '.join(pipelines)}) {' and '.join(faults)}"
    )


def _faults(pipeline: Config) -> Iterator[str]:
    """Yield what keeps a pipeline from being used."""
    functions = [step["function"] for step in pipeline["filter"]]
    if "majority_vote" in functions or "take_first_k" in functions:
        yield "vote among samples themselves, which aggregators do here"
    elif not TEXT_FILTERS.issuperset(functions):
        yield "look at more than the text of one completion"
    elif functions[-1:] != ["take_first"]:
        yield "leave several answers of one completion"


def _short(metric: object) -> str:
    """Name a metric; one that is a function stands with the path of its module."""
    return str(metric).rpartition("/")[2]
