"""A story about what several people have, each compared with an earlier one."""

from __future__ import annotations

from timetrial_plugins.nutshell.draft import TIMES, Draft
from timetrial_plugins.nutshell.words import COLLECTED, PEOPLE

_RELATIONS = ("more", "fewer", "times", "half")


def write_comparison(draft: Draft) -> str:
    """Tell how much each of several people has, ask for a total or difference; return the subject."""
    things = draft.pick(COLLECTED)
    num_sums = draft.between((1, draft.num_steps // 2))
    num_people = draft.num_steps - num_sums + 1
    names = [person.name for person in draft.random.sample(PEOPLE, num_people)]
    values = [draft.between(draft.difficulty.start)]
    draft.tell(("{who} has {n} {things}.", "{who} owns {n} {things}."), who=names[0], n=values[0], things=things)
    while len(values) < num_people:
        values.append(_relate(draft, names, values, things))
    others = [index for index in range(num_people - 2) if values[index] != values[-1]]
    if num_sums == 1 and others and draft.random.random() < 0.5:
        other = draft.pick(others)
        pair = sorted([(values[other], names[other]), (values[-1], names[-1])])
        _ask_difference(draft, pair, things)
    else:
        _ask_total(draft, names[-num_sums - 1 :], values[-num_sums - 1 :], things)
    return "comparison"


def _relate(draft: Draft, names: list[str], values: list[int], things: str) -> int:
    """Add the next person, mostly compared with the last one, and return what that person has."""
    index = len(values) - 1 if draft.random.random() < 0.8 else draft.random.randrange(len(values))
    other, value, who = names[index], values[index], names[len(values)]
    change, factor = draft.between(draft.difficulty.change), draft.between((2, 4))
    results = {
        "more": (f"{value} + {change}", value + change),
        "fewer": (f"{value} - {change}", value - change),
        "times": (f"{value} * {factor}", value * factor),
        "half": (f"{value} / 2", value // 2),
    }
    possible = [
        relation
        for relation in _RELATIONS
        if 2 <= results[relation][1] <= draft.difficulty.ceiling and (relation != "half" or value % 2 == 0)
    ]
    relation = draft.pick(possible)
    wording = {
        "more": f"{who} has {change} more than {other}.",
        "fewer": f"{who} has {change} fewer than {other}.",
        "times": f"{who} has {TIMES[factor]} as many as {other}.",
        "half": f"{who} has half as many as {other}.",
    }
    draft.tell((wording[relation],))
    return draft.solve("{who} has {sum} {things}.", *results[relation], who=who, things=things)


def _ask_difference(draft: Draft, pair: list[tuple[int, str]], things: str) -> None:
    (low, few), (high, many) = pair
    question = "How many more {things} does {many} have than {few}?"
    draft.tell((question,), things=things, many=many, few=few)
    text = "The difference is {sum} {things}."
    draft.solve(text, f"{high} - {low}", high - low, things=things)


def _ask_total(draft: Draft, names: list[str], values: list[int], things: str) -> None:
    listed = f"{', '.join(names[:-1])} and {names[-1]}"
    draft.tell(("How many {things} do {listed} have together?",), things=things, listed=listed)
    total = values[0]
    for name, value in zip(names[1:], values[1:], strict=True):
        text = "Together with {name} that is {sum} {things}."
        total = draft.solve(text, f"{total} + {value}", total + value, name=name, things=things)
