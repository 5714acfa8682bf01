"""The name under which lm-eval knows timetrial's models, and lm-eval's own command with that name known.

lm-eval scans no entry points, so somebody has to say the name before it is asked for (docs/general-benchmarks.md).
"""

from __future__ import annotations

NAME = "timetrial"
_TARGET = "timetrial_plugins.general.model:TimetrialLM"


def register() -> None:
    """Make the name known to lm-eval; the class is imported when it is first asked for."""
    # lm-eval registers its own models only while nothing is registered: whoever comes first must bring them along.
    import lm_eval.models  # noqa: F401
    from lm_eval.api.registry import model_registry

    if NAME not in model_registry:
        model_registry.register(NAME, target=_TARGET)


def main() -> None:
    """Run lm-eval's command."""
    from lm_eval.__main__ import cli_evaluate

    register()
    cli_evaluate()
