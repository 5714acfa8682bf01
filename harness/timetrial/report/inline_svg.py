"""Turn a stand-alone SVG file into one that can sit in a page: themed by the page's colours, no clashing ids."""

from __future__ import annotations

import html
import re

from timetrial.report import canvas
from timetrial.report.canvas import Picture

_THEME = {
    canvas.INK: "var(--ink)",
    canvas.MUTED: "var(--muted)",
    canvas.GRID: "var(--grid)",
    canvas.FRONT: "var(--front)",
    canvas.PAPER: "var(--paper)",
    **{colour: f"var(--series-{number})" for number, colour in enumerate(canvas.SERIES_COLOURS)},
}


def inline(picture: Picture) -> str:
    """Return the picture's svg element without its file header, size and style sheet, ids made unique to it.

    Only tags are rewritten, never text, so that no label can be taken for markup.
    """
    body = picture.svg[picture.svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r"<[^>]+>", lambda tag: _rewrite_tag(tag.group(), picture.name), body)
    label = html.escape(f"{picture.section}: {picture.title}", quote=True)
    return re.sub(r'width="[^"]*" height="[^"]*"', f'role="img" aria-label="{label}"', body, count=1)


def _rewrite_tag(tag: str, prefix: str) -> str:
    tag = re.sub(r'\bid="', f'id="{prefix}-', tag)
    tag = re.sub(r'href="#', f'href="#{prefix}-', tag).replace("url(#", f"url(#{prefix}-")
    tag = re.sub(r"font-family: [^;\"]*;? ?", "", tag)
    return re.sub(r"#[0-9a-f]{6}\b", lambda colour: _THEME.get(colour.group(), colour.group()), tag)
