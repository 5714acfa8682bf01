"""A table of finished cells, and its three renderings: Markdown, HTML and the terminal. All escape what they show."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from timetrial.report.labels import visible

if TYPE_CHECKING:
    import rich.table


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows of text under named columns."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    num_text_columns: int = 1
    """The first so many columns are text, aligned left; the rest are figures, aligned right."""
    note: str = ""
    """What a reader must know to read the cells."""

    def __post_init__(self) -> None:
        """Check that every row has a cell for every column."""
        assert all(len(row) == len(self.columns) for row in self.rows), f"ragged table {self.title!r}"


class Cell(NamedTuple):
    """A cell of a table that is still a list."""

    row: tuple[str, ...]
    """What names its row: the text columns."""
    column: str
    text: str


def pivot(title: str, heads: tuple[str, ...], cells: Iterable[Cell], note: str = "") -> Table:
    """Arrange cells into rows and columns, both in order of appearance; "-" stands where there is none.

    `heads` names the text columns.
    """
    texts = {(cell.row, cell.column): cell.text for cell in cells}
    rows = tuple(dict.fromkeys(row for row, _ in texts))
    columns = tuple(dict.fromkeys(column for _, column in texts))
    return Table(
        title=title,
        columns=(*heads, *columns),
        rows=tuple((*row, *(texts.get((row, column), "-") for column in columns)) for row in rows),
        num_text_columns=len(heads),
        note=note,
    )


def without_repeated_notes(tables: Sequence[Table]) -> tuple[Table, ...]:
    """Drop the note of each table that says the same as the one above it."""
    notes = ["", *(table.note for table in tables)]
    return tuple(
        replace(table, note="") if table.note == above else table for table, above in zip(tables, notes, strict=False)
    )


def to_markdown(table: Table, *, level: int = 3) -> str:
    """Render as a Markdown heading, note and pipe table, ending in a newline."""
    align = [":--" if number < table.num_text_columns else "--:" for number in range(len(table.columns))]
    lines = [_markdown_row(table.columns), f"| {' | '.join(align)} |", *map(_markdown_row, table.rows)]
    parts = [f"{'#' * level} {escape_markdown(table.title)}", escape_markdown(table.note), "\n".join(lines)]
    return "\n\n".join(part for part in parts if part) + "\n"


def to_html(table: Table) -> str:
    """Render as a captioned HTML table inside a box that scrolls sideways on narrow screens."""
    head = "".join(_html_cell(table, "th", number, cell) for number, cell in enumerate(table.columns))
    body = "".join(
        f"<tr>{''.join(_html_cell(table, 'td', number, cell) for number, cell in enumerate(row))}</tr>\n"
        for row in table.rows
    )
    note = f'<span class="note">{html.escape(table.note)}</span>' if table.note else ""
    kind = "table wraps" if table.num_text_columns == len(table.columns) else "table"
    return (
        f'<div class="{kind}"><table>\n<caption>{html.escape(table.title)}{note}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table></div>\n"
    )


def to_rich(table: Table) -> rich.table.Table:
    """Render for the terminal; a table much wider than it is long is turned on its side."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table as RichTable

    num_figures = len(table.columns) - table.num_text_columns
    if num_figures > max(6, len(table.rows)):
        table = transposed(table)
    rendered = RichTable(
        title=escape(table.title),
        caption=escape(table.note) or None,
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    for number, column in enumerate(table.columns):
        is_text = number < table.num_text_columns
        rendered.add_column(escape(visible(column)), justify="left" if is_text else "right", overflow="fold")
    for row in table.rows:
        rendered.add_row(*(escape(visible(cell)) for cell in row))
    return rendered


def transposed(table: Table) -> Table:
    """Turn rows into columns; each is headed by its row's text cells, and each row by the name of its figures."""
    first = table.num_text_columns
    return replace(
        table,
        columns=(", ".join(table.columns[:first]), *(", ".join(row[:first]) for row in table.rows)),
        rows=tuple((table.columns[at], *(row[at] for row in table.rows)) for at in range(first, len(table.columns))),
        num_text_columns=1,
    )


def escape_markdown(text: str) -> str:
    """Make text stand for itself in a Markdown table or paragraph."""
    return re.sub(r"[\\|*`<]|\[(?=[^\]]*\]\()", r"\\\g<0>", " ".join(text.split()))


def _markdown_row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(map(escape_markdown, cells))} |"


def _html_cell(table: Table, tag: str, number: int, cell: str) -> str:
    kind = "" if number < table.num_text_columns else ' class="figure"'
    return f"<{tag}{kind}>{html.escape(cell)}</{tag}>"
