r"""Fuzz extraction, classes and verdicts, and report every text that breaks a rule.

    python benchmarks/fuzz_grading.py --minutes 10 [--seed N] [--engine hypothesis|atheris] [--out failures.jsonl]

Bytes become two answers, by a grammar of answers, by damage done to real ones or from any characters at all; hypothesis
draws the bytes at random, atheris (if installed) prefers those that reach new code. The rules, in `Rules`: nothing
raises, nothing takes long or much memory, a class is its own class and the same in every process, equal classes are
equal answers and have one verdict, and no answer equals two different numbers. A failing text is shortened as long as
it breaks the same rule, printed, and appended to --out; the exit status is 1 if there was any.
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import os
import random
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from timetrial.clock import MonotonicClock

KEY_LIMIT_S, VERDICT_LIMIT_S = 2.0, 6.0
"""A verdict may ask sympy, in a process that is killed after a while."""
MAX_GROWTH = 200
"""MiB by which one text may raise the peak of memory."""
MAX_ALIKE = 3
"""Failures of one rule on one kind of answer that are kept."""
CLASSES_COMPARED = 2_000
STYLES = ("math", "gsm8k", "nutshell", "loose")
# Some of MATH's and GSM8K's gold answers and some spellings of model answers: one of every kind.
ANSWERS = (
    r"\left( 3, \frac{\pi}{2} \right)", r"11\sqrt2", "10,080", r"\$18.90", r"(-\infty, 2) \cup (3, \infty)", "6 - 5i",
    r"\text{Evelyn}", r"\begin{pmatrix} -\frac{1}{3} \\ \frac{2}{3} \end{pmatrix}", r"x \in [-2,7]", "2516_8", r"50\%",
    r"y = 2x + 3", r"3 \pm 2 \sqrt{2}", r"864 \mbox{ inches}^2", "1,-2", r"\{1\pm\sqrt{5},-2\}", "x^3+3x-6", "4:30",
    r"0.\overline{3}", r"2 \frac{2}{3}", r"\sin^2 x", r"\binom{10}{3}", r"9^{9^9}", r"f(x) = \lfloor x \rfloor", "(A)",
    r"x = 1 \text{ or } x = -\frac{1}{2}", r"\frac{2018!}{2017!}", r"|x - 2| \le 3", "1.5 \\times 10^{-3}", "90^\\circ",
    r"\left[\begin{array}{cc} 1 & 2 \\ 3 & 4 \end{array}\right]", r"\sum_{k=1}^{n} k^2", r"\mathbb{R}", "no solution",
    r"a_{n+1} = 2a_n", r"\log_2 (x+1)", r"e^{i\pi/3}", "3\u00bd", "x\u00b2 \u2264 4", "5 km/h", "2.5e-7", "4:30 p.m.",
    r"x \equiv 3 \pmod{7}", r"\frac{dy}{dx} = -\frac{x}{y}", r"\begin{cases} x = 1 \\ y = 2 \end{cases}", r"\emptyset",
)  # fmt: skip
ATOMS = (
    r"0 1 2 3 7 10 12 0.5 100 1e5 .25 x y n a k i e \pi \theta x_1 AB 1,000 \infty \emptyset 2\frac{1}{3}"
    r" 0.\overline{6}"
).split()
FUNCTIONS = (
    r"\sin \cos \tan \ln \log \exp \sqrt \arcsin \sinh \lfloor f \operatorname{sech} \log_2 \sqrt[3] \bar \text"
).split()
OPERATORS = ["+", "-", r"\cdot ", "*", "/", "", " ", "^", r"\pm ", r"\mp ", "!", "_"]
RELATIONS = ["=", "<", ">", r"\le ", r"\ge ", r"\ne ", r"\in ", r"\approx ", r"\equiv ", ">="]
UNITS = r"\%|^\circ|\text{ cm}|cm^2| dollars|\text{ and }| or |_5|_{10}| p.m.| million".split("|")
MARKUP = r"\{ \} \frac \\ \left \right \boxed{ \begin{pmatrix} \end{pmatrix} <think> </think> #### __import__ [' [["
CHARACTERS = "{}()[]|,;:.'\"$&\\~\x00\ud800\u202e\u0301\u2212\uff11\u00bd\u221a\u2082"
SPECIAL = ["final answer is", '["q","1"]', *MARKUP.split(), *CHARACTERS]
SPELLINGS = (r"\frac", r"\dfrac"), (r"\left", ""), (r"\right", ""), (" ", "  "), (r"\cdot ", "*"), ("\u2212", "-")
PIECES = ATOMS + FUNCTIONS + OPERATORS + RELATIONS + UNITS + SPECIAL

Item = TypeVar("Item")


class Choices:
    """Decisions read from bytes; when they run out, every decision is the first one."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def number(self, limit: int) -> int:
        """Return a number below the limit, which is at most 65,536."""
        width = 1 if limit <= 256 else 2
        taken = self.data[self.position : self.position + width]
        self.position += width
        return int.from_bytes(taken, "big") % limit

    def one_of(self, items: tuple[Item, ...] | list[Item] | str) -> Any:  # Any: what the items are
        return items[self.number(len(items))]


def pair_of_texts(data: bytes) -> tuple[str, str]:
    """Return two answers; the second is often the first with some damage, or in other words."""
    choices = Choices(data)
    first = one_text(choices)
    how = choices.number(4)
    second = one_text(choices) if how == 0 else damaged(first, choices) if how < 3 else respelled(first, choices)
    return first, second


def one_text(choices: Choices) -> str:
    how = choices.number(8)
    if how == 0:
        return "".join(choices.one_of(PIECES) for _ in range(choices.number(24)))
    if how == 1:
        return "".join(chr(choices.number(65_536)) for _ in range(choices.number(12)))
    if how < 4:
        return damaged(choices.one_of(ANSWERS), choices)
    return answer(choices)


def answer(choices: Choices) -> str:
    """Return a list, tuple, set, interval, matrix, relation or quantity of formulas, or a formula alone."""
    parts = [formula(choices, 3) for _ in range(1 + choices.number(4))]
    shapes: tuple[Callable[[], str], ...] = (
        lambda: parts[0],
        lambda: parts[0] + choices.one_of(UNITS),
        lambda: choices.one_of((", ", ",", ";", r" \text{ and } ")).join(parts),
        lambda: choices.one_of("([") + ", ".join(parts) + choices.one_of(")]"),
        lambda: r"\{" + ",".join(parts) + r"\}",
        lambda: choices.one_of(RELATIONS).join(parts),
        lambda: r" \cup ".join(f"({part}, {part}+1]" for part in parts),
        lambda: r"\begin{pmatrix}" + choices.one_of(("&", r"\\")).join(parts) + r"\end{pmatrix}",
        lambda: ", ".join(f"{name} = {part}" for name, part in zip("xyzt", parts, strict=False)),
    )
    shape: str = choices.one_of(shapes)()
    return shape


def formula(choices: Choices, depth: int) -> str:
    how = choices.number(7) if depth else 0
    if how < 2:
        return str(choices.one_of(ATOMS))
    inner = formula(choices, depth - 1)
    if how == 2:
        return f"{choices.one_of(FUNCTIONS)}{{{inner}}}"
    if how == 3:
        return rf"\frac{{{inner}}}{{{formula(choices, depth - 1)}}}"
    if how == 4:
        return f"({inner})"
    if how == 5:
        return f"{inner}^{{{formula(choices, depth - 1)}}}"
    return inner + choices.one_of(OPERATORS) + formula(choices, depth - 1)


def damaged(text: str, choices: Choices) -> str:
    """Return the text with some of its characters repeated, dropped, swapped or replaced."""
    for _ in range(1 + choices.number(3)):
        start = choices.number(len(text) + 1)
        end = min(len(text), start + choices.number(6))
        piece = text[start:end]
        new = choices.one_of((choices.one_of(PIECES), piece * 2, piece[::-1], "", piece + " ", f"{{{piece}}}"))
        text = text[:start] + new + text[end:]
    return text


def respelled(text: str, choices: Choices) -> str:
    """Return the text with other spellings that should mean the same, so that pairs of one class are common."""
    for old, new in SPELLINGS:
        if choices.number(2):
            text = text.replace(old, new)
    return choices.one_of(("{}", "${}$", " {}.", "{{{}}}", r"\displaystyle {}")).replace("{}", text)


class Broken(NamedTuple):
    """A rule, the kind of answer that broke it, and what was seen."""

    rule: str
    kind: str
    detail: str


class Rules:
    """What must hold of any two texts. The grader is imported here, so that atheris can instrument it first."""

    def __init__(self) -> None:
        self.grading = importlib.import_module("timetrial_plugins.grading")
        self.clock = MonotonicClock()

    def broken(self, first: str, second: str) -> Iterator[Broken]:
        kind = ""
        try:
            for rule in (self.cost, self.extraction, self.reflexive, self.one_class, self.exclusive):
                for name, detail in rule(first, second):
                    kind = kind or "/".join(str(self.grading.key(text)[0]) for text in (first, second))
                    yield Broken(name, kind, detail)
        except Exception as error:
            where = error.__traceback__
            while where is not None and where.tb_next is not None:
                where = where.tb_next
            place = f"{Path(where.tb_frame.f_code.co_filename).name}:{where.tb_lineno}" if where is not None else ""
            yield Broken("raises", f"{type(error).__name__} at {place}", str(error)[:200])

    def cost(self, first: str, second: str) -> Iterator[tuple[str, str]]:
        before_s, before = self.clock.now(), peak_memory()
        self.grading.key(first)
        between_s = self.clock.now()
        self.grading.grade(first, second)
        after_s = self.clock.now()
        if between_s - before_s > KEY_LIMIT_S or after_s - between_s > VERDICT_LIMIT_S:
            yield "takes long", f"{between_s - before_s:.2f} s for the key, {after_s - between_s:.2f} s for the verdict"
        if peak_memory() - before > MAX_GROWTH:
            yield "takes memory", f"{peak_memory() - before:.0f} MiB"

    def extraction(self, first: str, second: str) -> Iterator[tuple[str, str]]:
        for style in STYLES:
            for text in (first + "\n" + second, f"The final answer is {first}", rf"{second} \boxed{{{first}"):
                found = self.grading.extract_answer(text, style)
                if found is not None and (found == "" or found != found.strip()):
                    yield "extracts blanks", f"{style}: {found!r}"
        inside = first.strip()
        if inside.replace(" ", "").isdigit() and "think" not in second:
            found = self.grading.extract_answer(second.rstrip("\\") + rf" so \boxed{{{inside}}}", "math")
            if found is None or not found.endswith(inside):
                yield "misses the last box", f"{found!r}"

    def reflexive(self, first: str, second: str) -> Iterator[tuple[str, str]]:
        grading = self.grading
        text_class = grading.answer_class(first)
        if grading.answer_class(text_class) != text_class:
            yield "class of a class", f"{text_class} has {grading.answer_class(text_class)}"
        hash(grading.key(first))
        if first.strip() and grading.grade(first, first).correct is not True:
            yield "not equal to itself", str(grading.grade(first, first))
        if grading.grade(first, " ").correct is True or grading.grade(" ", first).correct is True:
            yield "equal to nothing", ""
        together = len(set(grading.cluster([first, second, first])))
        if first.strip() and second.strip() and together != 1 + (text_class != grading.answer_class(second)):
            yield "clusters are no classes", str(grading.cluster([first, second, first]))

    def one_class(self, first: str, second: str) -> Iterator[tuple[str, str]]:
        grading = self.grading
        one, other = grading.grade(first, second), grading.grade(second, first)
        if grading.answer_class(first) == grading.answer_class(second) and first.strip() and second.strip():
            if one.correct is not True or other.correct is not True:
                yield "one class, not equal", f"{one} {other}"
            for gold in ANSWERS[len(first) % 5 :: 5]:
                if grading.grade(gold, first).correct is not grading.grade(gold, second).correct:
                    yield "one class, two verdicts", f"gold {gold}"
        exact = {grading.key(first)[0], grading.key(second)[0]} <= {"q", "n"}
        if exact and not set("%.") & set(first + second) and one.correct is not other.correct:
            yield "asymmetric", f"{one} {other}"

    def exclusive(self, first: str, second: str) -> Iterator[tuple[str, str]]:
        rational = self.grading.key(first)
        numbers = ["7", "8"] if rational[0] != "q" else [rational[1], f"{rational[1]} + 1", f"{rational[1]} + 3"]
        equal = [number for number in numbers if self.grading.grade(number, first).correct is True]
        if len(equal) > 1:
            yield "equal to two numbers", str(equal)


def peak_memory() -> float:
    """Return the peak of this process's memory in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Hunt:
    """Try pairs of texts, shorten those that break a rule, and write them down."""

    def __init__(self, out: Path) -> None:
        self.rules = Rules()
        self.out = out
        self.tried = 0
        self.seen: Counter[tuple[str, str]] = Counter()
        self.classes: dict[str, str] = {}

    def attempt(self, data: bytes) -> None:
        first, second = pair_of_texts(data)
        self.tried += 1
        for broken in list(self.rules.broken(first, second)):
            self.seen[broken[:2]] += 1
            if self.seen[broken[:2]] <= MAX_ALIKE:
                self.write(broken, *self.shortened(broken.rule, first, second))
        if self.tried % 16 == 0 and len(self.classes) < CLASSES_COMPARED:
            self.classes[first] = self.rules.grading.answer_class(first)

    def shortened(self, rule: str, first: str, second: str) -> tuple[str, str]:
        """Drop pieces, long ones first, as long as the same rule is broken."""
        size = max(len(first), len(second), 1)
        while size:
            for start in range(0, max(len(first), len(second)), size):
                cut = [text[:start] + text[start + size :] for text in (first, second)]
                for pair in ((cut[0], cut[1]), (cut[0], second), (first, cut[1])):
                    if pair != (first, second) and any(broken.rule == rule for broken in self.rules.broken(*pair)):
                        first, second = pair
                        break
            size //= 2
        return first, second

    def write(self, broken: Broken, first: str, second: str) -> None:
        row = {**broken._asdict(), "first": first, "second": second}
        print(json.dumps(row), flush=True)
        with self.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def compare_processes(self) -> None:
        """Check that another process, with other hash values of strings, gives the same classes."""
        program = "import json,sys; from timetrial_plugins.grading import answer_class; "
        program += "print(json.dumps([answer_class(text) for text in json.load(sys.stdin)]))"
        texts = list(self.classes)
        environment = {**os.environ, "PYTHONHASHSEED": "1"}
        command = [sys.executable, "-c", program]
        output = subprocess.check_output(command, input=json.dumps(texts), text=True, env=environment)
        for text, other in zip(texts, json.loads(output), strict=True):
            if other != self.classes[text]:
                broken = Broken("another process, another class", str(self.rules.grading.key(text)[0]), other)
                self.seen[broken[:2]] += 1
                if self.seen[broken[:2]] <= MAX_ALIKE:
                    self.write(broken, text, "")

    def summary(self) -> str:
        failures = sum(self.seen.values())
        lines = [f"{self.tried:,} pairs of texts, {failures:,} failures, peak memory {peak_memory():.0f} MiB"]
        return "\n".join(lines + [f"  {count} x {rule} ({kind})" for (rule, kind), count in self.seen.most_common()])


def hunt_with_hypothesis(hunt: Hunt, minutes: float, seed: int) -> None:
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded
    from hypothesis import strategies as st
    from hypothesis.configuration import set_hypothesis_home_dir

    set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "hypothesis")  # it would leave a folder here
    clock = MonotonicClock()
    end_s = clock.now() + 60 * minutes
    batch = settings(
        max_examples=500, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    numbers = random.Random(seed)
    while clock.now() < end_s:

        @seeded(numbers.getrandbits(64))
        @batch
        @given(st.binary(min_size=8, max_size=120))
        def attempt(data: bytes) -> None:
            if clock.now() < end_s:
                hunt.attempt(data)

        attempt()


def hunt_with_atheris(out: Path, minutes: float, seed: int, report: Connection) -> None:
    """Run in a process of its own, since libFuzzer never gives the control back."""
    import atheris

    with atheris.instrument_imports(include=["timetrial_plugins.grading"]):
        hunt = Hunt(out)
    end_s = hunt.rules.clock.now() + 60 * minutes

    def attempt(data: bytes) -> None:
        hunt.attempt(data)
        if hunt.rules.clock.now() > end_s:
            hunt.compare_processes()
            report.send((hunt.summary(), sum(hunt.seen.values())))
            os._exit(0)

    atheris.Setup([sys.argv[0], f"-seed={seed + 1}", "-max_len=160", "-timeout=60", "-rss_limit_mb=4096"], attempt)
    atheris.Fuzz()


def run_atheris(out: Path, minutes: float, seed: int) -> tuple[str, int]:
    try:
        importlib.import_module("atheris")
    except ImportError:
        sys.exit("--engine atheris: it is not installed. Install it (pip install atheris) or use --engine hypothesis.")
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=hunt_with_atheris, args=(out, minutes, seed, sender))
    process.start()
    sender.close()
    try:
        result: tuple[str, int] = receiver.recv()
    except EOFError:
        process.join()
        result = (f"the fuzzing process ended with status {process.exitcode}", 1)
    process.join()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=("hypothesis", "atheris"), default="hypothesis")
    parser.add_argument("--out", type=Path, default=Path("fuzz-failures.jsonl"))
    options = parser.parse_args()
    if options.engine == "atheris":
        text, failures = run_atheris(options.out, options.minutes, options.seed)
    else:
        hunt = Hunt(options.out)
        hunt_with_hypothesis(hunt, options.minutes, options.seed)
        hunt.compare_processes()
        text, failures = hunt.summary(), sum(hunt.seen.values())
    print(text)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
