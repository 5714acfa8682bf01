"""From what a user calls data to a source of rows: prepared folders, the nutshell's generator, mixtures of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from timetrial.error import UsageError
from timetrial_distillation.data.encoding import DocumentEncoder
from timetrial_distillation.data.generated import NutshellRows
from timetrial_distillation.data.mixture import Component, Mixture
from timetrial_distillation.data.packed import PackedRows
from timetrial_distillation.data.plan import Mode, PlanConfig
from timetrial_distillation.data.prepared import PreparedData
from timetrial_distillation.data.rows import RowSource

NUTSHELL = "nutshell"
"""The name of the generator, where a folder can stand."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrangement:
    """How documents become rows."""

    length: int
    """Tokens a row."""
    mode: Mode = "bfd"
    """Of prepared folders; the generator's problems always stand whole."""
    seed: int = 0


class DataName(NamedTuple):
    """A folder of prepared data, or the generator, and its share of the rows."""

    name: str
    weight: float


def parse_data(text: str) -> DataName:
    """Read NAME or NAME=WEIGHT.

    Raises:
        UsageError: the weight is no number.
    """
    name, equals, weight = text.rpartition("=")
    if not equals:
        return DataName(text, 1.0)
    try:
        return DataName(name, float(weight))
    except ValueError as cause:
        raise UsageError(f"data {text!r}: expected a folder, or FOLDER=WEIGHT with a number as weight") from cause


def open_rows(names: Sequence[DataName], arrangement: Arrangement, tokenizer: Path, ref: str) -> RowSource:
    """Open one source, or several mixed by weight, for the model `ref` whose tokenizer is in a folder.

    Raises:
        UsageError: the data was made with another tokenizer, or rows are too short for it.
        DataError: a folder holds no finished data.
    """
    encoder = DocumentEncoder(tokenizer)
    components = [Component(_open(name, arrangement, encoder, ref), weight) for name, weight in names]
    return components[0].source if len(components) == 1 else Mixture(components, seed=arrangement.seed)


def _open(name: str, arrangement: Arrangement, encoder: DocumentEncoder, ref: str) -> RowSource:
    if name == NUTSHELL:
        return NutshellRows(encoder, arrangement.length, seed=arrangement.seed)
    data = PreparedData(Path(name))
    data.check_tokenizer(encoder.digest, ref)
    return PackedRows(data, PlanConfig(length=arrangement.length, mode=arrangement.mode, seed=arrangement.seed))
