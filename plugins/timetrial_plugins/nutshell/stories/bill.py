"""A story about a purchase: several goods, then coupons, delivery and discounts, then change or a shared bill."""

from __future__ import annotations

from timetrial_plugins.nutshell.draft import PORTIONS, Draft
from timetrial_plugins.nutshell.words import GOODS, PEOPLE

_NOTES = (20, 50, 100, 200, 500, 1000, 2000)
"""What one can pay with, in dollars."""


def write_bill(draft: Draft) -> str:
    """Tell of a purchase and what happens to the bill; return the subject."""
    who, friend = draft.random.sample(PEOPLE, 2)
    words = {"who": who.name, "she": who.she, "her": who.her, "friend": friend.name}
    total = _buy(draft, words)
    while draft.steps_left > 1:
        total = _change(draft, words, total)
    _settle(draft, words, total)
    return "shopping"


def _buy(draft: Draft, words: dict[str, str]) -> int:
    """Buy goods for at least a quarter of the steps, leave one step to settle, and return the sum."""
    fewest, most = max(1, draft.num_steps // 4), draft.num_steps // 2
    total = 0
    for index, goods in enumerate(draft.random.sample(GOODS, draft.between((fewest, most)))):
        count, price = draft.between(draft.difficulty.factor), draft.between(draft.difficulty.factor)
        price *= draft.between((1, 2))
        draft.tell(
            ("{who} also buys {a} {goods} for {b} dollars each.",)
            if index
            else ("{who} buys {a} {goods} at {b} dollars each.", "{who} pays {b} dollars each for {a} {goods}."),
            a=count,
            b=price,
            goods=goods,
            **words,
        )
        cost = draft.solve("The {goods} cost {sum} dollars.", f"{count} * {price}", count * price, goods=goods)
        if index:
            draft.solve("Together that is {sum} dollars.", f"{total} + {cost}", total + cost)
        total += cost
    return total


def _change(draft: Draft, words: dict[str, str], total: int) -> int:
    """Make the bill larger or smaller, in one step or, by a discount, in two; return the new bill."""
    portions = [p for p in PORTIONS if total * p[1] % p[2] == 0 and total * p[1] >= p[2]]
    if draft.steps_left >= 3 and portions and draft.random.random() < 0.5:
        wording, over, under = draft.pick(portions)
        part = total * over // under
        draft.tell(("The shop takes {portion} off the bill.",), portion=wording)
        expression = f"{total} / {under}" if over == 1 else f"{total} * {over} / {under}"
        draft.solve("The discount is {sum} dollars.", expression, part)
        return draft.solve("The bill is now {sum} dollars.", f"{total} - {part}", total - part)
    change = draft.between(draft.difficulty.change)
    if change < total and draft.random.random() < 0.5:
        draft.tell(("A coupon saves {who} {n} dollars.", "{friend} pays {n} dollars of the bill."), n=change, **words)
        return draft.solve("The bill is now {sum} dollars.", f"{total} - {change}", total - change)
    draft.tell(("The delivery costs {n} dollars.", "A cake for {friend} adds {n} dollars."), n=change, **words)
    return draft.solve("The bill is now {sum} dollars.", f"{total} + {change}", total + change)


def _settle(draft: Draft, words: dict[str, str], total: int) -> None:
    """Ask for the change from a note, or for the share of each friend."""
    low, high = draft.difficulty.factor
    fitting = [k for k in range(low, high + 1) if total % k == 0 and total > k]
    if fitting and draft.random.random() < 0.5:
        k = draft.pick(fitting)
        draft.tell(("{k} friends share the bill equally. How much does each pay, in dollars?",), k=k)
        draft.solve("Each pays {sum} dollars.", f"{total} / {k}", total // k)
        return
    note = next(note for note in _NOTES if note > total)
    draft.tell(("{who} pays with {n} dollars. How many dollars does {she} get back?",), n=note, **words)
    draft.solve("The change is {sum} dollars.", f"{note} - {total}", note - total)
