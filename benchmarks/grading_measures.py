"""What benchmarks/grading.py measures: verdicts on labelled pairs, relations, speeds, hostile inputs."""

from __future__ import annotations

import itertools
import json
import random
import resource
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import grading_cases as cases
import grading_math_verify as math_verify
from grading_math_verify import Pair, wrapped

from timetrial.clock import MonotonicClock
from timetrial_plugins.grading import Policy, answer_class, cluster, extract_answer, grade, key

LONG = 11_000
"""Characters of a long completion."""
STYLES = {None: "loose", "latex": "latex", "expr": "expr"}
"""Extraction styles by math-verify's match types, which the rows of its suite name."""
Json = dict[str, Any]  # Any: what JSON can hold


class Accuracy(NamedTuple):
    """How often one grader said what a set of labelled pairs says."""

    pairs: str
    grader: str
    number: int
    right: int
    wrongly_equal: int
    wrongly_different: int
    unknown: int


class Relation(NamedTuple):
    """How often a relation among some answers is no equivalence."""

    grader: str
    answers: int
    irreflexive: int
    asymmetric: int
    intransitive: int
    """Triples a = b = c with a != c."""


class Speed(NamedTuple):
    """How many a second, of the grader and of math-verify."""

    what: str
    per_s: float
    math_verify_per_s: float | None
    target: float
    """Times as many as math-verify."""
    number: int
    measured: int
    """How many math-verify was measured on."""


class Hostile(NamedTuple):
    """What one input costs, and what is said of it."""

    input: str
    key_s: float
    grade_s: float
    """The slower of two verdicts: as an answer to 17, and as the gold answer."""
    verdict: str
    growth_mib: float
    """By how much the peak memory of this process rose."""


class Miss(NamedTuple):
    """A verdict that is not the label."""

    pairs: str
    gold: str
    answer: str
    label: bool
    verdict: str


def clear_memos() -> None:
    """Forget what the grader and math-verify remember of answers: every bounded cache of a function of theirs."""
    for name, module in list(sys.modules.items()):
        if name.startswith(("timetrial_plugins.grading.", "math_verify.")):
            _clear_memos_of(module)


def _clear_memos_of(module: ModuleType) -> None:
    for value in vars(module).values():
        information = getattr(value, "cache_info", None)
        # An unbounded cache holds something that is made once, such as the worker processes.
        if information is not None and information().maxsize is not None and "regex" not in value.__name__:
            value.cache_clear()


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Return the least time of several repeats, each without memos."""
    clock, times = MonotonicClock(), []
    for _ in range(repeats):
        clear_memos()
        start = clock.now()
        work()
        times.append(clock.now() - start)
    return min(times)


# accuracy


class Labelled(NamedTuple):
    """A labelled pair, as it is given to the grader and to math-verify."""

    gold: str | None
    answer: str | None
    equal: bool
    raw: Pair
    is_bare: bool
    """Whether the raw answers are bare, so that math-verify may be helped by dollars around them."""
    policy: Policy = Policy()


def load(path: Path) -> list[Json]:
    """Read a file of JSON lines; stop with a message if it cannot be read."""
    try:
        with path.open(encoding="utf-8") as file:
            return [json.loads(line) for line in file if line.strip()]
    except OSError as error:
        raise SystemExit(f"cannot read {path}: {error.strerror}. Say with --data where the data files are.") from None
    except json.JSONDecodeError as error:
        raise SystemExit(f"{path} is not a file of JSON lines: {error}") from None


def suite(rows: Iterable[Json], *, own_options: bool = False) -> list[Labelled]:
    """Return the rows of a suite whose label is no matter of convention; texts are extracted from, bare answers not."""
    pairs = []
    for row in rows:
        if "policy" in row:
            continue
        options = row.get("opts", {})
        style = STYLES[options.get("match_types", [None])[0]]
        gold, answer = row["gold"], row["answer"]
        is_bare = row.get("kind", "bare") == "bare"
        policy = Policy()
        if own_options and "precision" in options:
            policy = Policy(significant_digits=options["precision"])
        # A gold answer without the formula that its style looks for is one as it stands.
        expected = gold if is_bare else extract_answer(gold, style) or gold
        given = answer if is_bare else extract_answer(answer, style)
        pairs.append(Labelled(expected, given, row["equal"], (gold, answer), is_bare, policy))
    return pairs


def math_500(rows: Sequence[Json]) -> dict[str, list[Labelled]]:
    """Return pairs of MATH-500's golds with themselves: bare, boxed, and in their own solutions."""
    golds = [row["answer"] for row in rows]
    boxed = [f"So the answer is $\\boxed{{{gold}}}$." for gold in golds]
    solutions = [row["solution"] for row in rows]
    sets = {"golds, bare": golds, "golds, boxed": boxed, "golds, their solutions": solutions}
    return {
        name: [
            Labelled(gold, text if text is gold else extract_answer(text), True, (gold, text), text is gold)
            for gold, text in zip(golds, texts, strict=True)
        ]
        for name, texts in sets.items()
    }


def gold_pairs(rows: Sequence[Json]) -> list[Labelled]:
    """Return all ordered pairs of distinct golds; a few of them are the same answer in other words."""
    equal = {pair for group in cases.EQUAL_GOLDS for pair in itertools.permutations(group, 2)}
    golds = sorted({row["answer"] for row in rows})
    pairs = (pair for pair in itertools.permutations(golds, 2) if set(pair) != set(cases.DEBATABLE_GOLDS))
    return [Labelled(*pair, pair in equal, pair, True) for pair in pairs]


def variant_pairs(rows: Sequence[Json]) -> list[Labelled]:
    made = cases.variants([row["answer"] for row in rows])
    return [Labelled(case.gold, case.answer, case.equal, (case.gold, case.answer), True) for case in made]


def gsm8k_pairs(rows: Sequence[Json]) -> list[Labelled]:
    return [
        Labelled(
            row["gold"], extract_answer(row["response"], "gsm8k"), row["equal"], (row["gold"], row["response"]), False
        )
        for row in rows
    ]


def measure_ours(name: str, pairs: Sequence[Labelled], misses: list[Miss]) -> Accuracy:
    """Grade the pairs; what is not extracted counts as different."""
    verdicts: list[bool | None] = []
    for pair in pairs:
        if not pair.gold or not pair.answer:
            verdicts.append(False)
            continue
        verdict = grade(pair.gold, pair.answer, policy=pair.policy)
        verdicts.append(verdict.correct)
        if verdict.correct is not pair.equal:
            said = str(verdict.correct) if verdict.correct is not None else f"unknown, {verdict.reason}"
            misses.append(Miss(name, pair.gold, pair.answer, pair.equal, said))
    return tally(name, "timetrial", pairs, verdicts)


def tally(name: str, grader: str, pairs: Sequence[Labelled], verdicts: Sequence[bool | None]) -> Accuracy:
    counts = Counter((pair.equal, verdict) for pair, verdict in zip(pairs, verdicts, strict=True))
    right = counts[True, True] + counts[False, False]
    unknown = counts[True, None] + counts[False, None]
    return Accuracy(name, grader, len(pairs), right, counts[False, True], counts[True, False], unknown)


def measure_math_verify(name: str, pairs: Sequence[Labelled], judge: math_verify.Judge) -> list[Accuracy]:
    verdicts = [judge(pair.raw[0] if pair.is_bare else wrapped(pair.raw[0]), pair.raw[1]) for pair in pairs]
    rows = [tally(name, "math-verify", pairs, verdicts)]
    if any(pair.is_bare for pair in pairs):
        kind = [judge(*map(wrapped, pair.raw)) if pair.is_bare else verdicts[place] for place, pair in enumerate(pairs)]
        rows.append(tally(name, "math-verify, wrapped", pairs, kind))
    return rows


def accuracy(data: Path, suites: Sequence[Path], *, full: bool, misses: list[Miss]) -> list[Accuracy]:
    """Measure both graders on all pairs; without `full`, math-verify on a sample of the large sets."""
    math_rows = load(data / "math500.jsonl")
    cases_rows = load(data / "equivalence_cases.jsonl")
    sets = {
        "equivalence cases": suite(cases_rows),
        "equivalence cases, own precision": suite(cases_rows, own_options=True),
        **math_500(math_rows),
        "golds, all pairs": gold_pairs(math_rows),
        "golds, variants": variant_pairs(math_rows),
        "GSM8K completions": gsm8k_pairs(load(data / "gsm8k_graded_responses.jsonl")),
        **{path.stem: suite(load(path)) for path in suites},
    }
    rows = []
    judge = math_verify.Judge()
    for name, pairs in sets.items():
        rows.append(measure_ours(name, pairs, misses))
        if math_verify.IS_INSTALLED and "own precision" not in name:
            some = pairs if full else random.Random(0).sample(pairs, min(len(pairs), 1_500))
            rows += measure_math_verify(name, some, judge)
    judge.stop()
    return rows


# relation


def relation(data: Path, *, full: bool) -> list[Relation]:
    """Compare every answer with every other one: gold answers, variants of them, and known troublemakers."""
    golds = list(dict.fromkeys(row["answer"] for row in load(data / "math500.jsonl")))
    near = [case.answer for case in cases.variants(golds)]
    for answers in (golds, near):
        random.Random(0).shuffle(answers)
    many = list(dict.fromkeys([*cases.NOT_TRANSITIVE, *golds, *near[: 2_000 if full else 500]]))
    few = list(dict.fromkeys([*cases.NOT_TRANSITIVE, *golds[:30], *near[:30]]))
    numbers = cluster(many)
    rows = [
        violations("timetrial, classes", many, lambda a, b: numbers[a] == numbers[b]),
        violations("timetrial, keys", many, lambda a, b: key(many[a]) == key(many[b])),
        verdicts_within_classes(golds, many),
        violations("timetrial, verdicts", few, lambda a, b: grade(few[a], few[b]).correct is True),
    ]
    if math_verify.IS_INSTALLED:
        judge = math_verify.Judge()
        rows.append(violations("math-verify", few, lambda a, b: judge(wrapped(few[a]), wrapped(few[b])) is True))
        judge.stop()
    return rows


def violations(grader: str, answers: Sequence[str], are_equal: Callable[[int, int], bool]) -> Relation:
    """Count where a relation is not reflexive, symmetric and transitive."""
    size = range(len(answers))
    equal = [{b for b in size if are_equal(a, b)} for a in size]
    irreflexive = sum(a not in equal[a] for a in size)
    asymmetric = sum(a not in equal[b] for a in size for b in equal[a])
    intransitive = sum(len(equal[b] - equal[a]) for a in size for b in equal[a])
    return Relation(grader, len(answers), irreflexive, asymmetric, intransitive)


def verdicts_within_classes(golds: Sequence[str], answers: Sequence[str]) -> Relation:
    """Count classes of which a gold answer equals one member and not another: a verdict is given once a class."""
    classes: dict[str, list[str]] = {}
    for answer in answers:
        classes.setdefault(answer_class(answer), []).append(answer)
    torn = sum(
        len({grade(gold, answer).correct for answer in members}) > 1
        for members in classes.values()
        if len(members) > 1
        for gold in dict.fromkeys([members[0], *golds[:20]])
    )
    return Relation("timetrial, verdicts within a class", len(answers), 0, 0, torn)


# speed


def grade_sampled(problems: Sequence[cases.Sampled]) -> list[bool | None]:
    """Extract, cluster and grade as a run does: one verdict a class and problem."""
    verdicts: list[bool | None] = []
    for problem in problems:
        answers = [extract_answer(text) for text in problem.texts]
        of_class: dict[int, bool | None] = {-1: False}
        for number, answer in zip(cluster(answers), answers, strict=True):
            if number not in of_class:
                of_class[number] = grade(problem.gold, answer or "").correct
            verdicts.append(of_class[number])
    return verdicts


def speeds(data: Path, repeats: int) -> list[Speed]:
    math_rows = load(data / "math500.jsonl")
    golds, solutions = ([row[field] for row in math_rows] for field in ("answer", "solution"))
    distinct = list({case.answer: (case.gold, case.answer) for case in cases.variants(golds)}.values())
    problems = cases.sampled_completions(golds, 256)
    sampled = [(problem.gold, text) for problem in problems for text in problem.texts]
    chains = cases.long_completions(solutions, LONG, min(100, len(solutions)), 8)
    long = [(golds[problem], text) for problem, text in chains]
    gsm8k = [(row["gold"], row["response"]) for row in load(data / "gsm8k_graded_responses.jsonl")]
    timed = [
        ("distinct answers, cold: key", lambda: [key(answer) for _, answer in distinct], distinct, 600, 25),
        ("distinct answers, cold: verdict", lambda: [grade(*pair) for pair in distinct], distinct, 600, 25),
        ("sampled answers, end to end", lambda: grade_sampled(problems), sampled, 1_500, 16),
        (f"completions of {LONG:,} characters", lambda: extract_and_grade(long, "math"), long, 50, 100),
        ("GSM8K completions", lambda: extract_and_grade(gsm8k, "gsm8k"), gsm8k, 1_000, 50),
    ]
    extract_and_grade(long[:20], "math")  # imports and tables
    rows = []
    for what, work, pairs, number, target in timed:
        some = random.Random(0).sample(pairs, min(number, len(pairs)))
        per_s = len(pairs) / seconds(work, repeats)
        rows.append(Speed(what, per_s, math_verify_speed(some, repeats), target, len(pairs), len(some)))
    return rows


def extract_and_grade(pairs: Sequence[Pair], style: str) -> list[bool | None]:
    return [grade(gold, extract_answer(text, style) or "").correct for gold, text in pairs]


def math_verify_speed(pairs: Sequence[Pair], repeats: int) -> float | None:
    """Return how many pairs a second it parses and verifies, all of them wrapped."""
    if not math_verify.IS_INSTALLED:
        return None
    prepared = [(wrapped(gold), wrapped(text)) for gold, text in pairs]
    math_verify.says(*prepared[0])  # imports and tables
    return len(pairs) / seconds(lambda: [math_verify.says(*pair) for pair in prepared], repeats)


# hostile input


def hostile() -> list[Hostile]:
    """Read and grade every hostile input."""
    clock = MonotonicClock()
    grade("17", "x + 1")
    rows = []
    for name, text in cases.HOSTILE.items():
        clear_memos()
        before, times, said = peak_mib(), [], set()
        start = clock.now()
        key(text)
        key_s = clock.now() - start
        for pair in (("17", text), (text, "17")):
            start = clock.now()
            verdict = grade(*pair)
            times.append(clock.now() - start)
            said.add(str(verdict.reason if verdict.correct is None else verdict.correct))
        rows.append(Hostile(name, key_s, max(times), " / ".join(sorted(said)), peak_mib() - before))
    return rows


def peak_mib() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
