"""The words of the nutshell's stories: people, goods, and six settings in which an amount rises and falls.

Phrases are `str.format` templates. Fields: who, she, her, friend (people); things (what is counted); n, a, b, k
(numbers); times ("twice", "3 times"); portion ("a third", "20%"); sum (the arithmetic of a step, "12 + 7 = 19").
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """Someone in a story, with the pronouns to use: "she", "her" (possessive)."""

    name: str
    she: str
    her: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """The phrases of a story about one amount that changes. Several wordings each, except in solutions."""

    subject: str
    things: tuple[str, ...]
    packs: tuple[str, ...]
    """What a product is made of: "4 bags with 6 shells in each"."""
    opening: tuple[str, ...]
    packs_opening: tuple[str, ...]
    gain: tuple[str, ...]
    lose: tuple[str, ...]
    packs_gain: tuple[str, ...]
    grow: tuple[str, ...]
    """The amount becomes k times as large."""
    part: tuple[str, ...]
    """A portion of the amount leaves."""
    question: tuple[str, ...]
    share: tuple[str, ...]
    """The amount is divided by k, and how much each gets is the question."""
    now: str
    packs_step: str
    part_step: str
    share_step: str


_GIRLS = ("Mia", "Eva", "Lena", "Nora", "Ruth", "Sara", "Ada", "Ivy", "Zoe", "Clara")
_BOYS = ("Tom", "Ben", "Leo", "Max", "Omar", "Paul", "Hugo", "Ken", "Sam", "Ravi")
PEOPLE = (
    *(Person(name=name, she="she", her="her") for name in _GIRLS),
    *(Person(name=name, she="he", her="his") for name in _BOYS),
)

COLLECTED = (
    *("marbles", "stickers", "shells", "coins", "cards", "stamps", "beads", "buttons"),
    *("pencils", "stones", "ribbons", "postcards"),
)
"""What people have many of, in the stories that compare them."""

GOODS = (
    *("pens", "books", "candles", "mugs", "plates", "shirts", "lamps", "tickets"),
    *("brushes", "scarves", "puzzles", "baskets"),
)
"""What a shop sells."""

COLLECTION = Setting(
    subject="collection",
    things=COLLECTED,
    packs=("bags", "boxes", "jars"),
    opening=(
        "{who} has {n} {things}.",
        "{who} starts the week with {n} {things}.",
        "There are {n} {things} in the drawer of {who}.",
    ),
    packs_opening=(
        "{who} has {a} {packs} with {b} {things} in each.",
        "{who} keeps {her} {things} in {a} {packs} of {b}.",
    ),
    gain=(
        "{friend} gives {who} {n} more.",
        "Then {she} finds {n} more.",
        "The next day {who} buys {n} {things}.",
        "For {her} birthday {who} gets {n} {things}.",
    ),
    lose=(
        "Then {she} loses {n} of them.",
        "{who} gives {n} {things} to {friend}.",
        "Later {she} sells {n} {things}.",
    ),
    packs_gain=(
        "{who} buys {a} {packs} with {b} {things} in each.",
        "{friend} brings {a} {packs} of {b} {things} as a present.",
    ),
    grow=(
        "By the summer {who} has {times} as many.",
        "A year later the number of {things} is {times} as large.",
    ),
    part=(
        "{who} gives {portion} of the {things} to {friend}.",
        "Then {she} trades {portion} of the {things} for a toy.",
    ),
    question=(
        "How many {things} does {who} have now?",
        "How many {things} does {who} have in the end?",
    ),
    share=(
        "{who} puts all the {things} into {k} bowls, the same number in each. How many {things} are in each bowl?",
        "In the end {k} children share the {things} equally. How many {things} does each get?",
    ),
    now="{who} now has {sum} {things}.",
    packs_step="The {packs} hold {sum} {things}.",
    part_step="{who} gives away {sum} {things}.",
    share_step="Each gets {sum} {things}.",
)

BUS = Setting(
    subject="travel",
    things=("people", "passengers", "tourists"),
    packs=("groups", "families"),
    opening=(
        "A train leaves the city with {n} {things}.",
        "There are {n} {things} on a ship.",
        "A train starts its trip with {n} {things} on board.",
    ),
    packs_opening=("A train leaves the city with {a} {packs} of {b} {things}.",),
    gain=(
        "At the next stop {n} {things} get on.",
        "Then {n} more {things} come on board.",
    ),
    lose=(
        "At the next stop {n} {things} get off.",
        "Then {n} of the {things} leave.",
    ),
    packs_gain=(
        "Then {a} {packs} of {b} {things} get on.",
        "At the market {a} {packs} of {b} come on board.",
    ),
    grow=("In the harbor the number of {things} becomes {times} as large.",),
    part=(
        "At the next stop {portion} of the {things} get off.",
        "Then {portion} of all the {things} leave.",
    ),
    question=(
        "How many {things} are on board now?",
        "How many {things} arrive at the last stop?",
    ),
    share=(
        "At the last stop the {things} take {k} taxis, the same number in each. How many {things} are in each taxi?",
    ),
    now="There are {sum} {things} on board.",
    packs_step="The {packs} bring {sum} {things}.",
    part_step="So {sum} {things} get off.",
    share_step="Each taxi takes {sum} {things}.",
)

BAKERY = Setting(
    subject="work",
    things=("rolls", "cakes", "pies", "loaves", "cookies"),
    packs=("trays", "carts"),
    opening=(
        "{who} has baked {n} {things}.",
        "A bakery opens with {n} {things} on its shelves.",
    ),
    packs_opening=(
        "{who} bakes {a} {things} an hour and works for {b} hours.",
        "{who} bakes {a} {packs} with {b} {things} on each.",
    ),
    gain=("Then {who} bakes {n} more.", "{friend} brings {n} {things} from another shop."),
    lose=(
        "In the morning {n} {things} are sold.",
        "{friend} buys {n} {things} for a party.",
        "By accident {n} {things} are burned.",
    ),
    packs_gain=(
        "Then {who} bakes {a} {packs} with {b} {things} on each.",
        "For {a} hours {who} bakes {b} {things} an hour.",
    ),
    grow=("For the holidays {who} makes the number of {things} {times} as large.",),
    part=(
        "By noon {portion} of the {things} are sold.",
        "A school takes {portion} of the {things}.",
    ),
    question=("How many {things} are there now?", "How many {things} are left in the shop?"),
    share=(
        "The {things} are packed into {k} equal boxes. How many {things} are in each box?",
        "The {things} fill {k} shelves equally. How many {things} are on each shelf?",
    ),
    now="Now there are {sum} {things}.",
    packs_step="That makes {sum} {things}.",
    part_step="So {sum} {things} go.",
    share_step="Each holds {sum} {things}.",
)

FARM = Setting(
    subject="farm",
    things=("apples", "pears", "plums", "melons", "carrots", "onions"),
    packs=("crates", "sacks", "rows"),
    opening=("On the farm of {who} there are {n} {things}.", "{who} has picked {n} {things}."),
    packs_opening=(
        "{who} picks {a} {packs} of {b} {things}.",
        "On the farm of {who} there are {a} {packs} with {b} {things} in each.",
    ),
    gain=("In the evening {who} picks {n} more.", "{friend} adds {n} {things}."),
    lose=(
        "The birds eat {n} {things}.",
        "At the market {who} sells {n} {things}.",
        "Of these {n} are bad and {who} throws them away.",
    ),
    packs_gain=(
        "{friend} brings {a} {packs} with {b} {things} in each.",
        "Then {she} picks {a} {packs} of {b} {things}.",
    ),
    grow=("After the rain there are {times} as many {things}.",),
    part=(
        "At the market {who} sells {portion} of the {things}.",
        "Then {who} gives {portion} of the {things} to {friend}.",
    ),
    question=(
        "How many {things} does {who} have left?",
        "How many {things} are there in the end?",
    ),
    share=(
        "{who} packs the {things} into {k} equal baskets. How many {things} are in each basket?",
        "The {things} feed {k} horses equally. How many {things} does each horse eat?",
    ),
    now="{who} then has {sum} {things}.",
    packs_step="The {packs} have {sum} {things}.",
    part_step="That takes away {sum} {things}.",
    share_step="Each gets {sum} {things}.",
)

MONEY = Setting(
    subject="money",
    things=("dollars", "euros"),
    packs=("days", "weeks"),
    opening=("{who} has saved {n} {things}.", "{who} has {n} {things} in the bank."),
    packs_opening=("For {a} {packs} {who} saves {b} {things} each time.",),
    gain=(
        "{friend} pays {who} {n} {things} for help in the garden.",
        "Then {she} earns {n} {things}.",
    ),
    lose=(
        "{who} spends {n} {things} on food.",
        "Then {she} pays {n} {things} for a coat.",
        "{who} lends {friend} {n} {things}.",
    ),
    packs_gain=("Then {who} works for {a} {packs} and earns {b} {things} each time.",),
    grow=("With luck the money becomes {times} as much.",),
    part=(
        "{who} spends {portion} of the {things} on a gift.",
        "Then {she} pays {portion} of the {things} in rent.",
    ),
    question=(
        "How many {things} does {who} have now?",
        "How many {things} are left?",
    ),
    share=("{who} divides the {things} equally among {k} cousins. How many {things} does each get?",),
    now="{who} then has {sum} {things}.",
    packs_step="That brings {sum} {things}.",
    part_step="That costs {sum} {things}.",
    share_step="Each cousin gets {sum} {things}.",
)

LIBRARY = Setting(
    subject="school",
    things=("books", "maps", "games", "chairs"),
    packs=("shelves", "rooms"),
    opening=(
        "A school owns {n} {things}.",
        "There are {n} {things} in the school of {who}.",
    ),
    packs_opening=("A school has {a} {packs} with {b} {things} in each.",),
    gain=("The city sends {n} more.", "Then the teachers buy {n} new {things}."),
    lose=(
        "{who} borrows {n} {things} for a class.",
        "Then {n} old {things} are thrown away.",
    ),
    packs_gain=("Then {a} {packs} with {b} {things} in each are added.",),
    grow=("After a few years there are {times} as many {things}.",),
    part=(
        "Another school takes {portion} of the {things}.",
        "In the spring {portion} of the {things} are given away.",
    ),
    question=("How many {things} does the school have now?", "How many {things} are left?"),
    share=("The {things} are shared equally by {k} classes. How many {things} does each class get?",),
    now="The school then has {sum} {things}.",
    packs_step="The {packs} have {sum} {things}.",
    part_step="That is {sum} {things}.",
    share_step="Each class gets {sum} {things}.",
)

SETTINGS = (COLLECTION, BUS, BAKERY, FARM, MONEY, LIBRARY)
