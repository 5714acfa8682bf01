"""From a format's name to the format, for one checkpoint's tokenizer."""

from __future__ import annotations

from timetrial_plugins.rewards.declaration import Declaration
from timetrial_plugins.rewards.formats.chat import Chat
from timetrial_plugins.rewards.formats.encoded import Format
from timetrial_plugins.rewards.formats.math_shepherd import MathShepherdFormat
from timetrial_plugins.rewards.formats.outcome import OutcomeFormat
from timetrial_plugins.rewards.formats.qwen_prm import QwenPrmFormat
from timetrial_plugins.rewards.formats.rlhflow import RlhflowFormat
from timetrial_plugins.rewards.formats.skywork_prm import SkyworkPrmFormat


def make_format(declaration: Declaration, tokenizer: Chat) -> Format:
    """Return the declared format.

    Raises:
        CheckpointError: the tokenizer lacks a chat template that the format needs.
        UsageError: the tokenizer lacks the format's tags, or the format has no header to leave out.
    """
    match declaration.format:
        case "rlhflow":
            return RlhflowFormat(tokenizer, system_header=declaration.system_header)
        case "outcome":
            return OutcomeFormat(tokenizer, system_header=declaration.system_header)
        case "math-shepherd":
            return MathShepherdFormat(tokenizer, separator="\n\n" if declaration.splitter == "blank-line" else "\n")
        case "qwen-prm":
            return QwenPrmFormat(tokenizer)
        case "skywork-prm":
            return SkyworkPrmFormat(tokenizer)
        case _:
            raise AssertionError(f"{declaration.format} is checked by the declaration")
