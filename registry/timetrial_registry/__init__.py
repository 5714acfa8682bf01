"""What checkpoints exist and what they are: where they lie, their files, their digests."""

from timetrial_registry.checkpoint import read_config, resolve, resolve_config, resolve_tokenizer, weight_files
from timetrial_registry.digest import checkpoint_digest, file_digest, tokenizer_digest
from timetrial_registry.error import CheckpointError, TimetrialError

__all__ = [
    "CheckpointError",
    "TimetrialError",
    "checkpoint_digest",
    "file_digest",
    "read_config",
    "resolve",
    "resolve_config",
    "resolve_tokenizer",
    "tokenizer_digest",
    "weight_files",
]
