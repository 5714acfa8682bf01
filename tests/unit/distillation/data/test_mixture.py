from collections import Counter
from typing import NamedTuple

import pytest
import torch

from timetrial.error import UsageError
from timetrial_distillation.data.mixture import BLOCK_ROWS, Component, Mixture
from timetrial_distillation.data.rows import Rows


class Counting(NamedTuple):
    """A source whose rows say where they come from."""

    name: int
    length: int = 4
    tokenizer_digest: str = "t"

    @property
    def digest(self):
        return f"source {self.name}"

    def rows(self, start, count):
        positions = torch.arange(start, start + count)[:, None].expand(count, self.length)
        names = torch.full_like(positions, self.name)
        return Rows(tokens=positions, labels=names, doc_ids=names, num_tokens=count * 3, num_labels=count * 2)


def mix(*weights, seed=0):
    return Mixture([Component(Counting(name), weight) for name, weight in enumerate(weights)], seed)


def drawn(mixture, start, count):
    rows = mixture.rows(start, count)
    return list(zip(rows.labels[:, 0].tolist(), rows.tokens[:, 0].tolist(), strict=True))


def test_every_block_has_the_shares_of_the_weights():
    mixture = mix(5, 3, 2)
    for block in range(3):
        rows = drawn(mixture, block * BLOCK_ROWS, BLOCK_ROWS)
        assert Counter(name for name, _ in rows) == {0: 500, 1: 300, 2: 200}


def test_each_source_is_read_in_its_own_order_without_a_gap():
    rows = drawn(mix(2, 1, 4), 0, 3 * BLOCK_ROWS)
    for name in range(3):
        positions = [position for source, position in rows if source == name]
        assert positions == list(range(len(positions)))


@pytest.mark.parametrize(("start", "count"), [(0, 1), (7, 50), (990, 20), (2500, 3), (10, 0)])
def test_rows_are_a_function_of_their_position(start, count):
    assert drawn(mix(1, 2), start, count) == drawn(mix(1, 2), 0, 2600)[start : start + count]


def test_sources_are_mixed_finely():
    names = [name for name, _ in drawn(mix(1, 1), 0, BLOCK_ROWS)]
    for start in range(0, BLOCK_ROWS, 100):
        assert 25 < sum(names[start : start + 100]) < 75


def test_counts_add_up():
    rows = mix(1, 2).rows(5, 40)
    assert (rows.num_tokens, rows.num_labels) == (120, 80)


def test_rows_that_do_not_divide_evenly_go_to_the_largest_remainders():
    assert mix(1, 1, 1).block_rows == [334, 333, 333]
    assert sum(mix(0.123, 0.456, 3.3).block_rows) == BLOCK_ROWS


def test_the_digest_tells_mixtures_apart():
    mixtures = [mix(1, 2), mix(2, 1), mix(1, 2, seed=1), mix(1), mix(1, 2, 1)]
    assert len({mixture.digest for mixture in mixtures}) == 5
    assert mix(1, 2).digest == mix(10, 20).digest
    assert drawn(mix(1, 2), 0, 100) != drawn(mix(1, 2, seed=1), 0, 100)


@pytest.mark.parametrize(
    ("components", "message"),
    [
        ([], "at least one"),
        ([(Counting(0), 1), (Counting(1, length=8), 1)], "source 1 of the mixture has rows of 8 tokens; the first, 4"),
        ([(Counting(0), 1), (Counting(1, tokenizer_digest="u"), 1)], "another tokenizer"),
        ([(Counting(0), 1), (Counting(1), -2)], "weight 1 of the mixture is -2"),
        ([(Counting(0), 1), (Counting(1), float("nan"))], "weight 1 of the mixture is nan"),
        ([(Counting(0), 1), (Counting(1), 1e-6)], "less than one row in 1000"),
    ],
)
def test_impossible_mixtures_are_refused(components, message):
    with pytest.raises(UsageError, match=message):
        Mixture([Component(*component) for component in components])
