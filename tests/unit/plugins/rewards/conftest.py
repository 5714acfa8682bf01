"""Tokenizers in published vocabulary layouts, and what to ask them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from timetrial_plugins.models.tokenizer import ChatTokenizer

from .vocabularies import write_llama3, write_mistral, write_qwen

WRITERS: dict[str, Callable[[Path], Path]] = {"llama3": write_llama3, "qwen": write_qwen, "mistral": write_mistral}


@pytest.fixture(scope="session")
def tokenizer_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a folder of tokenizer files for each vocabulary; do not write into them."""
    return {name: write(tmp_path_factory.mktemp(name)) for name, write in WRITERS.items()}


@pytest.fixture(scope="session")
def tokenizers(tokenizer_folders: dict[str, Path]) -> dict[str, ChatTokenizer]:
    return {name: ChatTokenizer(folder) for name, folder in tokenizer_folders.items()}
