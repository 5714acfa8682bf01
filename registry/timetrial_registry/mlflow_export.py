"""Tell an MLflow registry of an exported version: a registered model, a version with its source, tags and aliases.

MLflow keeps no digests and no parents, so they go into tags; a version that carries the digest already is not
registered twice. Needs the extra `mlflow`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timetrial_registry.error import RegistryError
from timetrial_registry.records import Version

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

DIGEST_TAG = "digest"


@dataclass(frozen=True, kw_only=True, slots=True)
class MlflowVersion:
    """A version in an MLflow registry."""

    uri: str
    """Of the registry."""
    name: str
    version: str
    aliases: tuple[str, ...]
    is_new: bool
    """Whether it was registered now."""


def register_with_mlflow(version: Version, source: Path, uri: str) -> MlflowVersion:
    """Register an exported folder as a version of an MLflow model of the same name, and set the same aliases.

    Args:
        version: what was exported.
        source: the folder; MLflow stores where it is, not its files.
        uri: of the MLflow registry, for example sqlite:///mlflow.db or http://host:5000.

    Raises:
        RegistryError: MLflow is not installed, or refuses.
    """
    client = _client(uri)
    from mlflow.exceptions import MlflowException

    try:
        return _register(client, version, source, uri)
    except MlflowException as cause:
        raise RegistryError(f"MLflow at {uri} does not take {version.ref}: {cause.message}") from cause


def require_mlflow() -> None:
    """Refuse to go on without MLflow.

    Raises:
        RegistryError: it is not installed.
    """
    if find_spec("mlflow") is None:
        raise RegistryError("MLflow is not installed: pip install 'timetrial[mlflow]'")


def _client(uri: str) -> MlflowClient:
    require_mlflow()
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    try:
        return MlflowClient(tracking_uri=uri, registry_uri=uri)
    except (MlflowException, ImportError, ValueError) as cause:
        raise RegistryError(f"no MLflow registry can be opened at {uri!r}: {cause}") from cause


def _register(client: MlflowClient, version: Version, source: Path, uri: str) -> MlflowVersion:
    found = [each for each in _versions(client, version.name) if each.tags.get(DIGEST_TAG) == version.digest]
    if found:
        number = str(found[0].version)
    else:
        if not client.search_registered_models(filter_string=f"name = '{version.name}'"):
            client.create_registered_model(version.name)
        made = client.create_model_version(version.name, source=source.resolve().as_uri(), tags=_tags(version))
        number = str(made.version)
    for alias in version.aliases:
        client.set_registered_model_alias(version.name, alias, number)
    return MlflowVersion(uri=uri, name=version.name, version=number, aliases=version.aliases, is_new=not found)


def _versions(client: MlflowClient, name: str) -> list[Any]:  # Any: MLflow ships no types
    """Return all versions of a model; MLflow gives them by the page."""
    found, token = [], None
    while True:
        page = client.search_model_versions(f"name = '{name}'", page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _tags(version: Version) -> dict[str, str]:
    provenance = version.manifest.provenance
    parents = [f"{parent.role} {parent.ref}" for parent in provenance.parents]
    tags = {
        DIGEST_TAG: version.digest,
        "tensor_digest": version.tensor_digest,
        "version": version.ref,
        "stage": version.stage,
        "parent": ", ".join(parents),
        "licence": provenance.licence,
    }
    return {name: value for name, value in tags.items() if value}
