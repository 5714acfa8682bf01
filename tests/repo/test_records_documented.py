"""docs/records.md knows every field of every record that a run folder holds."""

import dataclasses
import re
from pathlib import Path

import pytest

from timetrial.general_record import GeneralResult
from timetrial.record import Completion, Count, Curve, EndToEnd, Grade, Problem, StepScores, Timing

DOCUMENT = Path(__file__).parents[2] / "docs" / "records.md"


@pytest.mark.parametrize(
    "record", [Completion, Count, Curve, EndToEnd, GeneralResult, Grade, Problem, StepScores, Timing]
)
def test_the_table_of_a_record_lists_exactly_its_fields(record):
    section = re.search(rf"^## {record.__name__} .*?(?=^## |\Z)", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    cells = re.findall(r"^\| (`.*?) \|", section.group(), re.MULTILINE)
    documented = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert documented == {field.name for field in dataclasses.fields(record)}
