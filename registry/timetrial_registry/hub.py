"""The Hub: download at a pinned commit, look up what a revision is, push a folder. Its errors become ours.

`huggingface_hub` is imported on use: it is slow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from timetrial_registry.error import CheckpointError, RegistryError, TimetrialError

Visibility = Literal["public", "private"]
STALE = ("*.safetensors", "*.safetensors.index.json", "*.bin", "*.bin.index.json", ".eval_results/*")
"""Files of an earlier push that must not stay beside a later one's: old shards would be loaded with the new."""
HUB_TAG = "hub"
"""The tag of a version that came from the Hub or was pushed there: repository@commit."""

_LOOKING_UP = "looking {} up on the Hub"


@dataclass(frozen=True, kw_only=True, slots=True)
class Pushed:
    """A commit made on the Hub."""

    repository: str
    visibility: Visibility
    commit: str
    """The sha of the commit."""
    url: str


def download(repository: str, revision: str | None, patterns: Sequence[str]) -> Path:
    """Fetch the files of a Hub repository that match, or find them in the local cache.

    Raises:
        CheckpointError: it cannot be found, reached or read.
    """
    from huggingface_hub import snapshot_download

    with explaining(repository, revision):
        return Path(snapshot_download(repository, revision=revision, allow_patterns=list(patterns)))


def pin(repository: str, revision: str | None) -> str:
    """Return the sha of the commit that a revision (None: main) of a repository is now.

    Raises:
        CheckpointError: it cannot be found, reached or read.
    """
    from huggingface_hub import HfApi

    with explaining(repository, revision, action=_LOOKING_UP):
        commit = HfApi().model_info(repository, revision=revision).sha
    if commit is None:
        raise CheckpointError(f"the Hub does not say which commit {repository!r} at {revision or 'main'!r} is")
    return commit


def visibility(repository: str) -> Visibility | None:
    """Return who can see a repository; None if there is none yet.

    Raises:
        CheckpointError: the Hub cannot be reached, or denies access.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    with explaining(repository, None, action=_LOOKING_UP):
        try:
            return "private" if HfApi().model_info(repository).private else "public"
        except GatedRepoError:
            raise
        except RepositoryNotFoundError:
            return None


def push(folder: Path, repository: str, *, wanted: Visibility, message: str) -> Pushed:
    """Upload a folder as one commit, into a repository that is created if there is none.

    Raises:
        CheckpointError: the Hub cannot be reached, or denies access.
        RegistryError: the repository exists and is not as visible as wanted.
    """
    from huggingface_hub import HfApi

    found = visibility(repository)
    if found is not None and found != wanted:
        raise RegistryError(
            f"{repository!r} exists on the Hub and is {found}, not {wanted}: choose another name, or change it there"
        )
    api = HfApi()
    with explaining(repository, None, action="pushing to {} on the Hub"):
        if found is None:
            api.create_repo(repository, private=wanted == "private")
        commit = api.upload_folder(
            repo_id=repository, folder_path=folder, commit_message=message, delete_patterns=list(STALE)
        )
    return Pushed(repository=repository, visibility=wanted, commit=commit.oid, url=commit.commit_url)


@contextmanager
def explaining(repository: str, revision: str | None, action: str = "downloading {} from the Hub") -> Iterator[None]:
    """Turn whatever the Hub's library raises into an error that says what to do.

    Raises:
        CheckpointError: anything was raised.
    """
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except TimetrialError:
        raise
    except GatedRepoError as cause:
        reason = "access is restricted: accept its licence on its Hub page, then run `hf auth login`"
        raise CheckpointError(f"cannot download {repository!r} from the Hub: {reason}") from cause
    except RevisionNotFoundError as cause:
        raise CheckpointError(f"{repository!r} has no revision {revision!r} on the Hub") from cause
    except RepositoryNotFoundError as cause:
        reason = "there is no such repository, or it is private (then run `hf auth login`)"
        raise CheckpointError(f"cannot find {repository!r}: no such folder here, and on the Hub {reason}") from cause
    except HFValidationError as cause:
        raise CheckpointError(f"{repository!r} is neither a folder here nor a valid Hub id ({cause})") from cause
    except LocalEntryNotFoundError as cause:
        raise CheckpointError(
            f"{repository!r} is no folder here, is not in the local Hub cache, and the Hub cannot be reached. "
            "Connect (and unset HF_HUB_OFFLINE), or give the folder of a downloaded checkpoint."
        ) from cause
    except Exception as cause:  # a full disk, the Hub's other errors, and those of the HTTP library it happens to use
        raise CheckpointError(f"{action.format(repr(repository))} failed: {cause}") from cause
