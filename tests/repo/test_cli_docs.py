"""docs/cli.md is what the commands say of themselves."""

import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_command_line_page_is_current():
    # In a process of its own: a command keeps the help option it had first, and other tests call some without "-h".
    code = f"import runpy; print(runpy.run_path({str(DOCS / 'generate_cli.py')!r})['cli_page'](), end='')"
    page = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert (DOCS / "cli.md").read_text() == page, "run `make docs`"
