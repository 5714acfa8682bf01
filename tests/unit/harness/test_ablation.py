"""The ablation over reductions and powers: its values are the estimators', and it shows all of them."""

import math
from dataclasses import replace

import numpy as np
import pytest

from timetrial.ablation import ablation_to_json
from timetrial.error import RunError, UsageError
from timetrial.record import Completion, Grade, StepScores
from timetrial.report.ablation_figure import draw_ablation, write_pictures
from timetrial.report.ablation_tables import ablation_tables
from timetrial.stages.ablation import AblationSettings, ablate, default_ks
from timetrial.stages.pools import collect_votes
from timetrial.statistics.best_of import best_of_k
from timetrial.statistics.majority import majority_at_k
from timetrial.statistics.weighted import weighted_at_k
from timetrial.store import RunFolder

KEY = {"model": "m", "task": "t", "temperature": 0.8}
SETTINGS = AblationSettings(ks=(2, 4), gammas=(0.0, 1.0, 3.0, math.inf), replicates=50, permutations=40)


def write(folder, problems=6, samples=4, *, tokens=True, negative=False, unscored=()):
    """Answers that are right more often when their last step scores high, and longer texts that score lower."""
    rng = np.random.default_rng(0)
    grades, scores, completions = [], [], []
    for problem in range(problems):
        for sample in range(samples):
            key = {**KEY, "problem": f"p{problem}", "sample": sample}
            right = rng.random() < 0.5
            steps = tuple(float(s) for s in rng.random(3) * 0.5 + (0.5 if right else 0.1)) if not negative else (-1.0,)
            answer = "1" if right else str(rng.integers(2, 4))
            grades.append(Grade(**key, answer=answer, answer_class=answer, correct=right, grader="g/1"))
            lost = {"scores": (), "reason": "too long: by far"} if (problem, sample) in unscored else {"scores": steps}
            scores.append(StepScores(**key, reward_model="prm:v2", **lost))
            length = int(100 * (2 - steps[-1]))
            completions.append(
                Completion(
                    **key,
                    text="x" * (length // 2),
                    finish="stop",
                    num_prompt_tokens=3,
                    num_tokens=length if tokens or sample else None,
                    prompt_digest="",
                )
            )
    run = RunFolder(folder)
    with run.locked():
        for kind, records in ((Grade, grades), (StepScores, scores), (Completion, completions)):
            with run.appending(kind) as file:
                file.append(records)
    return run


def value(made, rule, reduction=None, gamma=None, k=4):
    (found,) = [
        point
        for point in made.points
        if (point.rule, point.reduction, point.gamma, point.k) == (rule, reduction, gamma, k)
    ]
    return found.value


def test_every_value_is_that_of_its_estimator_on_the_scores_reduced_so(tmp_path):
    folder = write(tmp_path)
    made = ablate(folder, 4, SETTINGS)
    for reduction in ("last", "min", "prod", "mean"):
        pool = collect_votes(folder.read(Grade), folder.read(StepScores), num_samples=4, reduction=reduction)[0]
        table = pool.scored["prm:v2"]
        assert value(made, "best-of-n", reduction, k=2) == pytest.approx(best_of_k(table, [2]).mean())
        assert value(made, "weighted", reduction, 0.0, k=2) == pytest.approx(majority_at_k(table, [2]).mean())
        cube = weighted_at_k(table, [2, 4], gamma=3, permutations=40).values.mean(axis=0)
        assert value(made, "weighted", reduction, 3.0, k=4) == pytest.approx(cube[1])
        assert value(made, "weighted", reduction, None, k=4) == pytest.approx(value(made, "best-of-n", reduction))
    assert value(made, "majority") == value(made, "weighted", "last", 0.0) <= value(made, "coverage")
    assert len(made.points) == 2 * (2 + 4 * (4 + 1))
    assert all(point.low <= point.value <= point.high for point in made.points)


def test_an_unscored_answer_abstains_where_scores_decide_and_votes_elsewhere(tmp_path):
    everything = ablate(write(tmp_path / "all"), 4, SETTINGS)
    some = ablate(write(tmp_path / "some", unscored={(problem, 0) for problem in range(6)}), 4, SETTINGS)
    for rule in ("majority", "coverage"):
        assert value(some, rule) == value(everything, rule)
    assert value(some, "weighted", "last", 0.0) != value(some, "majority")
    assert {point.value for point in some.points} != {point.value for point in everything.points}


@pytest.mark.parametrize(("tokens", "unit"), [(True, "tokens"), (False, "characters")])
def test_scores_are_described_by_auc_and_by_how_they_follow_length(tmp_path, tokens, unit):
    made = ablate(write(tmp_path, tokens=tokens), 4, SETTINGS)
    last = next(each for each in made.scores if each.reduction == "last")
    assert last.length_unit == unit
    assert 0.5 < last.auc_low <= last.auc <= last.auc_high <= 1
    assert last.length_correlation == pytest.approx(-1, abs=0.01)
    assert last.within_length_correlation == pytest.approx(-1, abs=0.01)
    assert 0 < last.num_problems <= 6
    assert ablation_to_json(made)["points"][-1]["gamma"] is None


def test_tables_and_figures_show_every_reduction_power_and_k(tmp_path):
    made = ablate(write(tmp_path), 4, SETTINGS)
    *values, scores = ablation_tables(made)
    assert [table.title for table in values] == [
        "t: m, temp. 0.8, prm:v2, 2 samples",
        "t: m, temp. 0.8, prm:v2, 4 samples",
    ]
    assert values[0].columns == ("reduction", "0 (majority)", "1 (weighted)", "3", "limit", "best-of-n")
    assert [row[0] for row in values[0].rows] == ["last", "min", "prod", "mean"]
    assert "coverage" in values[0].note and len(scores.rows) == 4
    pictures = list(draw_ablation(made))
    assert len({picture.name for picture in pictures}) == 2
    for name in ("last", "mean", "majority", "coverage", "best-of-n", "limit"):
        assert name in pictures[0].svg
    written = write_pictures(iter(pictures), tmp_path / "figures")
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)


def test_what_cannot_be_compared_is_refused(tmp_path):
    with pytest.raises(RunError, match="`timetrial score` scores a run"):
        ablate(RunFolder(tmp_path / "empty"), 4, SETTINGS)
    folder = write(tmp_path / "run")
    with pytest.raises(UsageError, match="k is 8, and there are 4 samples"):
        ablate(folder, 4, replace(SETTINGS, ks=(8,)))
    with pytest.raises(UsageError, match="gamma is -1"):
        AblationSettings(ks=(1,), gammas=(-1.0,))
    with pytest.raises(UsageError, match="gamma is nan"):
        AblationSettings(ks=(1,), gammas=(math.nan,))
    with pytest.raises(UsageError, match="k is 0"):
        AblationSettings(ks=(0,))
    with pytest.raises(UsageError, match="prm:v2 gave the score -1 .*no powers"):
        ablate(write(tmp_path / "negative", negative=True), 4, SETTINGS)


def test_by_default_k_goes_from_a_quarter_of_the_samples_to_all():
    assert [default_ks(samples) for samples in (1, 6, 32)] == [(1,), (2, 4), (8, 16, 32)]
