"""Write a report folder: figures as PNG and SVG, tables.md and index.html."""

from __future__ import annotations

from pathlib import Path

from timetrial.error import RunError
from timetrial.report.data import ReportData
from timetrial.report.figures import draw_figures
from timetrial.report.page import render_page
from timetrial.report.tables import make_sections, render_markdown


def write_report(report: ReportData, folder: Path) -> tuple[Path, ...]:
    """Write the report into `folder`, made if need be, and return the files written, index.html first.

    The same data gives the same bytes. Files of these names are replaced, others left alone.

    Raises:
        RunError: the folder cannot be written.
    """
    pictures = draw_figures(report)
    sections = make_sections(report)
    contents: dict[str, bytes] = {
        "index.html": _encoded(render_page(report, pictures, sections)),
        "tables.md": _encoded(render_markdown(report, sections)),
    }
    for picture in pictures:
        contents[f"{picture.name}.png"] = picture.png
        contents[f"{picture.name}.svg"] = picture.svg.encode()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            (folder / name).write_bytes(content)
    except OSError as error:
        raise RunError(f"cannot write the report into {folder}: {error.strerror or error}.") from error
    return tuple(folder / name for name in contents)


def _encoded(text: str) -> bytes:
    """Encode text that models wrote: half a surrogate pair, which no encoding takes, is shown escaped."""
    return text.encode("utf-8", "backslashreplace")
