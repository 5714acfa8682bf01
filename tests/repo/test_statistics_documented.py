"""docs/statistics.md knows every field of the analysis in curves.json, and its example gives what it says."""

import dataclasses
import re
import textwrap
from pathlib import Path

import numpy as np
import pytest

from timetrial import analysis

DOCUMENT = (Path(__file__).parents[2] / "docs" / "statistics.md").read_text()
RECORDS = [kind for kind in vars(analysis).values() if dataclasses.is_dataclass(kind)]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_the_table_of_an_analysis_record_lists_exactly_its_fields(record):
    section = re.search(rf"^### {record.__name__}$.*?(?=^##|\Z)", DOCUMENT, re.DOTALL | re.MULTILINE)
    assert section, f"docs/statistics.md has no section {record.__name__}"
    cells = re.findall(r"^\| (`.*?) \|", section.group(), re.MULTILINE)
    documented = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert documented == {field.name for field in dataclasses.fields(record)}


def test_the_example_gives_the_stated_values():
    example = textwrap.dedent(re.search(r"^    import numpy.*?(?=^\S)", DOCUMENT, re.DOTALL | re.MULTILINE).group())
    *setup, last = example.strip().splitlines()
    names = {}
    exec("\n".join(setup), names)
    call, stated = last.split("# array(")
    np.testing.assert_allclose(eval(call, names), eval(stated.split(")")[0]))
