"""The graders that a run asks for by name: looked up, and loaded once for all its tasks."""

from __future__ import annotations

from dataclasses import dataclass

from timetrial.blame import blaming
from timetrial.catalog import Catalog
from timetrial.config import NO_GRADER
from timetrial.error import UsageError
from timetrial.protocol import Grader, Task
from timetrial.spec import Origin
from timetrial.stages.judge import Graders


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedGraders:
    """The graders that a run asks for by name, loaded once for all its tasks."""

    grader: Grader | None = None
    second_opinion: Grader | None = None
    origins: tuple[Origin, ...] = ()
    """The plugins they come from."""

    def of(self, task: Task) -> Graders:
        """Return who judges the answers of a task."""
        return Graders(grader=self.grader or task.grader, second_opinion=self.second_opinion)


def load_graders(grader: str | None, second_opinion: str | None, catalog: Catalog) -> NamedGraders:
    """Load the graders that are asked for; None asks for none.

    Raises:
        UnknownNameError: there is no grader of that name; offers the closest one.
        UsageError: both are the same, or what one needs is not installed.
        PluginError: one cannot be loaded.
    """
    if grader is not None and grader == second_opinion:
        raise UsageError(f"second opinion is {grader!r}, which grades already: name another one, or {NO_GRADER}")
    names = [name for name in (grader, second_opinion) if name is not None]
    specs = {name: catalog.grader(name) for name in names}  # all of them before one is loaded, which may take long
    origins = {name: catalog.graders()[name].origin for name in names}
    loaded: dict[str | None, Grader] = {}
    for name, spec in specs.items():
        with blaming(f"grader {name!r}", origins[name]):
            loaded[name] = spec.load()
    return NamedGraders(
        grader=loaded.get(grader), second_opinion=loaded.get(second_opinion), origins=tuple(origins.values())
    )
