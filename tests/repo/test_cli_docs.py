"""docs/cli.md is what the commands say of themselves."""

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_command_line_page_is_current():
    page = runpy.run_path(str(DOCS / "generate_cli.py"))["cli_page"]()
    assert (DOCS / "cli.md").read_text() == page, "run `make docs`"
