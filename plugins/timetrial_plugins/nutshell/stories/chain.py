"""A story about one amount that rises and falls: people get on and off, rolls are baked and sold."""

from __future__ import annotations

from dataclasses import dataclass

from timetrial_plugins.nutshell.draft import PORTIONS, TIMES, Draft
from timetrial_plugins.nutshell.words import PEOPLE, SETTINGS, Setting


@dataclass(frozen=True, kw_only=True, slots=True)
class _Chain:
    """A story about one amount: the draft, the setting, and the words that stay the same throughout."""

    draft: Draft
    setting: Setting
    words: dict[str, str]

    def solve(self, template: str, expression: str, value: int) -> int:
        return self.draft.solve(template, expression, value, **self.words)


def write_chain(draft: Draft) -> str:
    """Tell of an amount that changes step by step; return the subject."""
    setting = draft.pick(SETTINGS)
    who, friend = draft.random.sample(PEOPLE, 2)
    words = {
        "who": who.name,
        "she": who.she,
        "her": who.her,
        "friend": friend.name,
        "things": draft.pick(setting.things),
        "packs": draft.pick(setting.packs),
    }
    chain = _Chain(draft=draft, setting=setting, words=words)
    value = _open(chain)
    is_shared = draft.random.random() < 0.3
    while draft.steps_left > is_shared:
        events = [_gain, _lose, _grow]
        if draft.steps_left - is_shared >= 2:
            events += [_gain_packs, _gain_packs, _part, _part]
        value = draft.pick(events)(chain, value) or value
    if not (is_shared and _share(chain, value)):
        while draft.steps_left:
            value = draft.pick((_gain, _lose))(chain, value) or value
        draft.tell(setting.question, **words)
    return setting.subject


def _open(chain: _Chain) -> int:
    draft, level = chain.draft, chain.draft.difficulty
    if draft.num_steps > 2 and draft.random.random() < 0.4:
        a, b = draft.between(level.factor), draft.between(level.factor)
        b = min(b * draft.between((1, 4)), level.start[1])
        draft.tell(chain.setting.packs_opening, a=a, b=b, **chain.words)
        return chain.solve(chain.setting.packs_step, f"{a} * {b}", a * b)
    start = draft.between(level.start)
    draft.tell(chain.setting.opening, n=start, **chain.words)
    return start


def _gain(chain: _Chain, value: int) -> int | None:
    change = chain.draft.between(chain.draft.difficulty.change)
    if value + change > chain.draft.difficulty.ceiling:
        return None
    chain.draft.tell(chain.setting.gain, n=change, **chain.words)
    return chain.solve(chain.setting.now, f"{value} + {change}", value + change)


def _lose(chain: _Chain, value: int) -> int | None:
    change = chain.draft.between(chain.draft.difficulty.change)
    if value - change < 2:
        return None
    chain.draft.tell(chain.setting.lose, n=change, **chain.words)
    return chain.solve(chain.setting.now, f"{value} - {change}", value - change)


def _grow(chain: _Chain, value: int) -> int | None:
    factor = chain.draft.between((2, min(5, chain.draft.difficulty.factor[1])))
    if value * factor > chain.draft.difficulty.ceiling:
        return None
    chain.draft.tell(chain.setting.grow, times=TIMES[factor], **chain.words)
    return chain.solve(chain.setting.now, f"{value} * {factor}", value * factor)


def _gain_packs(chain: _Chain, value: int) -> int | None:
    level = chain.draft.difficulty
    a, b = chain.draft.between(level.factor), chain.draft.between(level.factor)
    if value + a * b > level.ceiling:
        return None
    chain.draft.tell(chain.setting.packs_gain, a=a, b=b, **chain.words)
    chain.solve(chain.setting.packs_step, f"{a} * {b}", a * b)
    return chain.solve(chain.setting.now, f"{value} + {a * b}", value + a * b)


def _part(chain: _Chain, value: int) -> int | None:
    fitting = [p for p in PORTIONS if value * p[1] % p[2] == 0 and value * p[1] >= p[2]]
    if not fitting:
        return None
    portion, over, under = chain.draft.pick(fitting)
    part = value * over // under
    chain.draft.tell(chain.setting.part, portion=portion, **chain.words)
    expression = f"{value} / {under}" if over == 1 else f"{value} * {over} / {under}"
    chain.solve(chain.setting.part_step, expression, part)
    return chain.solve(chain.setting.now, f"{value} - {part}", value - part)


def _share(chain: _Chain, value: int) -> bool:
    low, high = chain.draft.difficulty.factor
    fitting = [k for k in range(low, high + 1) if value % k == 0 and value > k]
    if not fitting:
        return False
    k = chain.draft.pick(fitting)
    chain.draft.tell(chain.setting.share, k=k, **chain.words)
    chain.solve(chain.setting.share_step, f"{value} / {k}", value // k)
    return True
