"""Figures of a run go to the versions it measured, once; and the leaderboard of the registry is that of the run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from timetrial.catalog import Catalog
from timetrial.error import UsageError
from timetrial.loading import REGISTRY_FACT
from timetrial.record import Curve, Timing, to_json
from timetrial.registered_curves import disagreements, registered_curves
from timetrial.registering import check_registrable, register_metrics, run_digest
from timetrial.report.leaderboard import on_machine, rank
from timetrial.runner import Run
from timetrial_registry import Registry
from timetrial_registry.joined import JoinedRegistry
from timetrial_registry.records import Version
from timetrial_registry.shipped import ShippedRegistry

MAJORITY = Curve(
    model="student@champion", task="repeat", temperature=0.6, rule="majority", reward_model=None, reduction=None,
    ks=(1, 2, 4), values=(0.25, 0.5, 0.75), standard_errors=(0.1, 0.05, 0.01), low=(0.2, 0.4, 0.7),
    high=(0.3, 0.6, 0.8), monte_carlo_errors=None, seconds=(1.0, 1.5, 2.5), seconds_low=(0.9, 1.4, 2.4),
    seconds_high=(1.1, 1.6, 2.6), num_problems=20, num_samples=4,
)  # fmt: skip
COVERAGE = replace(MAJORITY, rule="coverage", values=(0.25, 0.6, 0.9))
TIMING = Timing(
    model="student@champion", batch=1, prompt_tokens=8, new_tokens=8, repeat=0, is_warmup=False, status="ok",
    prefill_s=0.1, decode_s=1.0, peak_bytes=None, environment="key",
)  # fmt: skip


@pytest.fixture
def joined(tmp_path: Path) -> JoinedRegistry:
    own = Registry(tmp_path / "registry")
    for number in (1.0, 2.0):
        folder = tmp_path / f"source-{number}"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"model_type": "echo"}))
        save_file({"weight": np.full(2, number, np.float32)}, folder / "model.safetensors")
        own.publish("student", folder)
    own.set_alias("student", "champion", 1)
    return JoinedRegistry(own, ShippedRegistry([]))


def make_run(
    folder: Path,
    version: Version | None,
    *curves: Curve,
    machine: str = "H200",
    grader: str = "fake/1",
    task_version: str = "1",
) -> Run:
    """A run folder as a finished run leaves it, of what registering reads."""
    facts = {"checkpoint_sha256": "0" * 64, "family": "echo"}
    if version is not None:
        facts[REGISTRY_FACT] = {"name": version.name, "version": version.version, "digest": version.digest}  # type: ignore[assignment]
    folder.mkdir(parents=True)
    config: dict[str, Any] = {"models": ["student@champion"], "data": [], "grid": None, "top_p": 0.9, "top_k": -1}
    recorded = {
        "config": config,
        "models": {"student@champion": facts},
        "tasks": {"repeat": {"version": task_version, "grading": {"grader": grader, "policy": {}}}},
    }
    (folder / "config.json").write_text(json.dumps(recorded))
    (folder / "environment.json").write_text(json.dumps({"key": {"accelerators": [machine]}}))
    (folder / "timings.jsonl").write_text(json.dumps(to_json(TIMING)) + "\n")
    stored = {"curves": [to_json(curve) for curve in curves or (MAJORITY, COVERAGE)], "analysis": {}}
    (folder / "curves.json").write_text(json.dumps(stored))
    return Run.open(folder)


def test_every_point_of_every_curve_is_attached_once(joined: JoinedRegistry, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", joined.get("student@1"))
    (first,) = register_metrics(run, joined)
    (second,) = register_metrics(run, joined)
    assert (first.version, first.num_new, first.num_figures) == ("student@1", 6, 6)
    assert (second.version, second.num_new, second.num_figures) == ("student@1", 0, 6)
    metrics = [metric for _, metric in joined.metrics("student@1")]
    assert len(metrics) == 6 and {metric.run_digest for metric in metrics} == {run_digest(run)}
    assert joined.metrics("student@2") == ()


def test_a_figure_carries_seconds_hardware_error_grader_and_sampling(joined: JoinedRegistry, tmp_path: Path) -> None:
    register_metrics(make_run(tmp_path / "run", joined.get("student@1")), joined)
    found = [metric for _, metric in joined.metrics("student@1")]
    figure = next(metric for metric in found if metric.metric == "accuracy" and metric.params["k"] == 2)
    assert (figure.value, figure.stderr, figure.n, figure.revision) == (0.5, 0.05, 20, "1")
    expected = {"seconds": 1.5, "hardware": "H200 (key)", "grader": "fake/1", "top_p": 0.9, "aggregator": "majority"}
    assert figure.params.items() >= expected.items() and "top_k" not in figure.params


def test_the_digest_of_a_run_is_that_of_what_it_measured_not_of_where_it_lies(
    joined: JoinedRegistry, tmp_path: Path
) -> None:
    version = joined.get("student@1")
    run, copy = (make_run(tmp_path / name, version) for name in ("run", "copy"))
    assert run_digest(run) == run_digest(copy)
    for name in ("timings.jsonl", "curves.json"):
        before = (copy.path / name).read_bytes()
        (copy.path / name).write_bytes(before + b"\n")
        assert run_digest(run) != run_digest(copy)
        (copy.path / name).write_bytes(before)
    assert run_digest(run) != run_digest(make_run(tmp_path / "other", joined.get("student@2")))
    assert run_digest(run) != run_digest(make_run(tmp_path / "graded", version, grader="fake/2"))


def test_a_model_from_elsewhere_is_left_out_with_the_reason(joined: JoinedRegistry, tmp_path: Path) -> None:
    (item,) = register_metrics(make_run(tmp_path / "folder", None), joined)
    assert item.version is None and item.num_figures == 6 and item.reason == "it was not loaded from the registry"
    gone = replace(joined.get("student@1"), version=9)
    (item,) = register_metrics(make_run(tmp_path / "gone", gone), joined)
    assert item.reason is not None and "student@9 is not in this registry" in item.reason
    changed = replace(joined.get("student@1"), digest="0" * 64)
    (item,) = register_metrics(make_run(tmp_path / "changed", changed), joined)
    assert item.reason is not None and "another version than the one that was measured" in item.reason
    assert joined.metrics() == ()


def test_a_run_without_curves_has_nothing_to_register(joined: JoinedRegistry, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", joined.get("student@1"))
    (run.path / "curves.json").write_text('{"curves": [], "analysis": {}}')
    with pytest.raises(UsageError, match="has no curves whose figures could be registered"):
        register_metrics(run, joined)


def test_a_run_that_measures_no_version_is_refused_before_it_starts(joined: JoinedRegistry, tmp_path: Path) -> None:
    catalog = Catalog([])
    check_registrable(["student@champion", "org/other"], catalog, joined)
    with pytest.raises(UsageError, match="needs a model of your registry, and org/other is none"):
        check_registrable(["org/other"], catalog, joined)


def test_the_registrys_ranking_is_that_of_the_runs(joined: JoinedRegistry, tmp_path: Path) -> None:
    better = replace(MAJORITY, values=(0.3, 0.6, 0.9), high=(0.4, 0.7, 0.95))
    register_metrics(make_run(tmp_path / "first", joined.get("student@1")), joined)
    register_metrics(make_run(tmp_path / "second", joined.get("student@2"), better), joined)
    board = rank([item.curves for item in registered_curves(joined, [])], 2.0)
    assert [(row.model, row.k, row.value, row.seconds) for row in board.standings] == [
        ("student@2", 2, 0.6, 1.5),
        ("student@1", 2, 0.5, 1.5),
    ]
    for refs, models in ((["student@1"], {"student@1"}), (["student"], {"student@1", "student@2"})):
        assert {item.curves.curves[0].model for item in registered_curves(joined, refs)} == models


def test_a_later_smaller_run_does_not_push_a_larger_one_off(joined: JoinedRegistry, tmp_path: Path) -> None:
    version = joined.get("student@1")
    register_metrics(make_run(tmp_path / "large", version, MAJORITY), joined)
    lucky = replace(MAJORITY, values=(0.9, 0.9, 0.9), high=(1.0, 1.0, 1.0), num_problems=3)
    register_metrics(make_run(tmp_path / "small", version, lucky), joined)
    (item,) = registered_curves(joined, [])
    assert item.curves.curves[0].values == MAJORITY.values


def test_seconds_of_two_machines_are_never_mixed_silently(joined: JoinedRegistry, tmp_path: Path) -> None:
    for number, machine in ((1, "H200"), (2, "EPYC")):
        register_metrics(make_run(tmp_path / machine, joined.get(f"student@{number}"), machine=machine), joined)
    curves = [item.curves for item in registered_curves(joined, [])]
    with pytest.raises(UsageError, match="different machines do not compare.*--machine"):
        rank(curves, 2.0)
    assert {row.model for row in rank(on_machine(curves, "h200"), 2.0).standings} == {"student@1"}
    assert {row.model for row in rank(curves, 2.0, mix_machines=True).standings} == {"student@1", "student@2"}
    with pytest.raises(UsageError, match=r"no.*machine 'A100': there are EPYC \(key\), H200 \(key\)"):
        on_machine(curves, "A100")


def test_other_graders_and_other_versions_of_a_task_are_said(joined: JoinedRegistry, tmp_path: Path) -> None:
    register_metrics(make_run(tmp_path / "a", joined.get("student@1")), joined)
    assert list(disagreements(registered_curves(joined, []))) == []
    register_metrics(make_run(tmp_path / "b", joined.get("student@2"), grader="fake/2", task_version="2"), joined)
    first, second = disagreements(registered_curves(joined, []))
    assert "graded by fake/1 and by fake/2" in first and "versions 1, 2" in second


def test_without_figures_there_is_nothing_to_rank(joined: JoinedRegistry) -> None:
    with pytest.raises(UsageError, match="no figures are attached to any version"):
        registered_curves(joined, [])
    with pytest.raises(UsageError, match="no figures are attached to student@1"):
        registered_curves(joined, ["student@1"])
