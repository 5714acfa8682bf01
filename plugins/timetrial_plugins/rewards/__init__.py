"""The built-in reward models. Importing this costs nothing; torch is imported when one is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from timetrial.protocol import TimedRewardModel
    from timetrial.spec import LoadOptions

__all__ = ["load_declared"]


def load_declared(folder: Path, options: LoadOptions) -> TimedRewardModel:
    """Load the reward model in a checkpoint folder, which reads solutions as its config.json declares.

    Raises:
        UsageError: it declares nothing, or its tokenizer lacks tokens of the format.
        CheckpointError: its files are missing, damaged or do not fit together.
    """
    from timetrial_plugins.rewards.loading import load_folder

    return load_folder(folder, options)
