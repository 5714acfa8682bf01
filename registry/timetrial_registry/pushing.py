"""Put an exported folder on the Hub, unless the licence of what it was made from forbids it as it is."""

from __future__ import annotations

from timetrial_registry.error import RegistryError
from timetrial_registry.export import Export
from timetrial_registry.hub import HUB_TAG, Pushed, Visibility, push
from timetrial_registry.registry import Registry


def push_export(
    registry: Registry | None,
    export: Export,
    repository: str,
    *,
    visibility: Visibility = "private",
    allow_any_name: bool = False,
) -> Pushed:
    """Upload an export as one commit, and note the commit with the version.

    Args:
        registry: that holds the version; None if nothing can be noted there.
        export: what is uploaded.
        repository: org/name; made if there is none.
        visibility: a repository that exists must be as visible.
        allow_any_name: push a model made with Llama to the public though its name does not say so.

    Raises:
        RegistryError: the licence forbids it, or the repository has another visibility.
        CheckpointError: the Hub cannot be reached, or denies access.
    """
    if visibility == "public":
        check_publishable(export, repository, allow_any_name=allow_any_name)
    pushed = push(export.folder, repository, wanted=visibility, message=_message(export))
    if registry is not None:
        place = f"{repository}@{pushed.commit}"
        registry.record_event(export.version, "pushed", f"to {place}, {visibility}")
        registry.tag(export.version, HUB_TAG, place)
    return pushed


def check_publishable(export: Export, repository: str, *, allow_any_name: bool) -> None:
    """Refuse what the licences of Llama models do not allow everybody to be given.

    Raises:
        RegistryError: says which condition is not met.
    """
    for licence in export.missing_agreements:
        raise RegistryError(
            f"{export.version.ref} is made with {licence.own_name}, and whoever gives it to others must add the text "
            f"of the {licence.title} Agreement, which no checkpoint here carries. Get it from {licence.link}, and "
            "export again with --licence-file FILE. A private repository can be pushed to without."
        )
    for licence in export.llama:
        if not (allow_any_name or licence.accepts_name(repository)):
            name = repository.rpartition("/")[2]
            prefix = (licence.name_prefix or "").replace(" ", "-")
            raise RegistryError(
                f"{export.version.ref} is made with {licence.own_name}: the {licence.title} wants a published model's "
                f"name to begin with {licence.name_prefix!r}, and {name!r} does not. Push to {prefix}-{name}, say, or "
                "give --allow-any-name if the condition does not bind you."
            )


def _message(export: Export) -> str:
    return f"Add {export.version.ref} (sha256 {export.version.digest[:12]})"
