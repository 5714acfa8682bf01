"""JSON that stands inside a page."""

from __future__ import annotations

import json
from typing import Any


def script_json(data: Any) -> str:  # Any: JSON values
    """Write JSON that cannot end the script element it stands in, nor start a comment."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
