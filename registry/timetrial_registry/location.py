"""Where a user's registry is unless they say otherwise."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ENVIRONMENT_VARIABLE = "TIMETRIAL_REGISTRY"


def default_folder() -> Path:
    """Return $TIMETRIAL_REGISTRY, else the folder `timetrial/registry` where the platform keeps a user's data.

    That is $XDG_DATA_HOME or ~/.local/share; ~/Library/Application Support on macOS; %LOCALAPPDATA% on Windows.
    """
    chosen = os.environ.get(ENVIRONMENT_VARIABLE)
    return Path(chosen).expanduser() if chosen else _user_data() / "timetrial" / "registry"


def _user_data() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    data_home = os.environ.get("XDG_DATA_HOME")
    # The XDG specification: a relative path is invalid and to be ignored.
    return Path(data_home) if data_home and Path(data_home).is_absolute() else Path.home() / ".local" / "share"
