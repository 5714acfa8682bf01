"""Tables: hostile cells stay text in Markdown, HTML and the terminal."""

import io

import pytest
from rich.console import Console

from timetrial.report.table import Cell, Table, pivot, to_html, to_markdown, to_rich, without_repeated_notes

HOSTILE = "<script>alert(1)</script> | [red]x[/red] `*`\nnew"


@pytest.fixture
def table():
    return Table(title=HOSTILE, columns=("name", HOSTILE), rows=((HOSTILE, "1.0"),), note=HOSTILE)


def test_markdown_keeps_hostile_cells_in_their_row_and_inert(table):
    lines = to_markdown(table).splitlines()
    assert lines[-1].replace("\\|", "").count("|") == 3
    assert "<script>" not in "\n".join(lines).replace("\\<", "")


def test_html_escapes_title_note_heads_and_cells(table):
    page = to_html(table)
    assert "<script>" not in page
    assert page.count("&lt;script&gt;") == 4


def test_terminal_shows_markup_as_it_is_written(table):
    screen = io.StringIO()
    Console(file=screen, width=300).print(to_rich(table))
    assert "[red]x[/red]" in screen.getvalue()


def test_terminal_cuts_no_figure_of_a_wide_table():
    cells = [
        Cell(("Llama-3.2-1B-Instruct, temp. 0.6",), f"k = {2**power}", f"{power}9.9 +- 1.2") for power in range(12)
    ]
    screen = io.StringIO()
    Console(file=screen, width=80).print(to_rich(pivot("t", ("model",), cells)))
    assert all(cell.text in screen.getvalue() for cell in cells)


def test_markdown_shows_no_links_but_leaves_lists_alone():
    cells = (("[here](http://example.org)", '["math-500"]'),)
    lines = to_markdown(Table(title="t", columns=("a", "b"), rows=cells)).splitlines()
    assert lines[-1] == '| \\[here](http://example.org) | ["math-500"] |'


def test_pivot_puts_a_dash_where_there_is_no_cell():
    cells = [Cell(("a",), "k = 1", "1"), Cell(("a",), "k = 2", "2"), Cell(("b",), "k = 2", "3")]
    assert pivot("t", ("model",), cells).rows == (("a", "1", "2"), ("b", "-", "3"))


def test_a_note_is_dropped_only_below_a_table_that_says_the_same():
    tables = [Table(title=str(number), columns=(), rows=(), note=note) for number, note in enumerate("aaba")]
    assert [table.note for table in without_repeated_notes(tables)] == ["a", "", "b", "a"]
