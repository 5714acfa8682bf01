"""docs/deadlines.md knows every field of replay.json."""

import dataclasses
import re
from pathlib import Path

import pytest

from timetrial import replay_record

DOCUMENT = (Path(__file__).parents[2] / "docs" / "deadlines.md").read_text()
RECORDS = [kind for kind in vars(replay_record).values() if dataclasses.is_dataclass(kind)]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_the_table_of_a_replay_record_lists_exactly_its_fields(record):
    section = re.search(rf"^### {record.__name__}$.*?(?=^##|\Z)", DOCUMENT, re.DOTALL | re.MULTILINE)
    assert section, f"docs/deadlines.md has no section {record.__name__}"
    cells = re.findall(r"^\| (`.*?) \|", section.group(), re.MULTILINE)
    documented = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert documented == {field.name for field in dataclasses.fields(record)}
