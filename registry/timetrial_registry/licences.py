"""What the licences of the Llama models ask of a model made with them: a copy, a notice, words and a name.

Facts only, no advice. Section 1.b of the community licences: whoever distributes Llama Materials or a model made with
them or their outputs provides a copy of the agreement (i.A), displays "Built with Llama" (i.B), begins the model's name
with "Llama" (i, last sentence), and keeps the attribution in a notice file (iii). Llama 2 asks for the copy and the
notice only; Llama 3 says "Meta Llama 3" and "Llama 3" instead.
The texts themselves are not in this package: they are copied from a checkpoint that carries its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

LICENCE_FILE = "LICENSE"
TERMS_TAG = "terms"
"""The tag of an imported version that holds the Llama licences of ancestors which were not imported with it."""
LICENCE_PATTERNS = ("LICENSE*", "LICENCE*", "NOTICE*", "Notice*", "USE_POLICY*")
"""Files of a checkpoint that say under which terms it stands."""

_AGREEMENTS = "https://github.com/meta-llama/llama-models/tree/main/models"


@dataclass(frozen=True, kw_only=True, slots=True)
class LlamaLicence:
    """The terms of one generation of Llama models."""

    generation: str
    """2, 3, 3.1, 3.2, 3.3 or 4."""
    own_name: str
    """As the licence calls the models, for example "Llama 3.2"."""
    title: str
    """The name of the licence as the notice spells it."""
    built_with: str | None
    """What is to be displayed; None: nothing."""
    name_prefix: str | None
    """What the name of a model must begin with; None: anything."""

    @property
    def hub_id(self) -> str:
        """The licence's identifier on the Hub."""
        return f"llama{self.generation}"

    @property
    def notice(self) -> str:
        """The attribution of section 1.b.iii."""
        copyright_sign = "(c)" if self.generation == "2" else "\N{COPYRIGHT SIGN}"
        owner = f"Copyright {copyright_sign} Meta Platforms, Inc. All Rights Reserved."
        return f"{self.own_name} is licensed under the {self.title}, {owner}"

    @property
    def link(self) -> str:
        """Where its text is published."""
        return f"{_AGREEMENTS}/llama{self.generation.replace('.', '_')}"

    def accepts_name(self, model: str) -> bool:
        """Whether a model may be distributed under the name, of which an owner before a slash is no part."""
        if self.name_prefix is None:
            return True
        words = re.sub(r"[-_ ]+", " ", model.rpartition("/")[2])
        return words.startswith(self.name_prefix)

    def is_text(self, text: str) -> bool:
        """Whether a text is this agreement."""
        head = " ".join(text[:2000].split()).lower()
        return f"{self.own_name.lower()} community license agreement" in head


def _community(generation: str) -> LlamaLicence:
    name = f"Llama {generation}"
    return LlamaLicence(
        generation=generation,
        own_name=name,
        title=f"{name} Community License",
        built_with="Built with Llama",
        name_prefix="Llama",
    )


LLAMA_LICENCES = {
    "2": LlamaLicence(
        generation="2", own_name="Llama 2", title="LLAMA 2 Community License", built_with=None, name_prefix=None
    ),
    "3": LlamaLicence(
        generation="3",
        own_name="Meta Llama 3",
        title="Meta Llama 3 Community License",
        built_with="Built with Meta Llama 3",
        name_prefix="Llama 3",
    ),
    **{generation: _community(generation) for generation in ("3.1", "3.2", "3.3", "4")},
}
"""By generation, oldest first."""

# A repository such as meta-llama/Llama-3.2-1B, meta-llama/Meta-Llama-3-8B or org/Llama3.2-Mamba2-3B; never
# nutshell-llama, llama-7b or TinyLlama-1.1B.
_REPOSITORY = re.compile(r"(?:^|/)(?:Meta-)?Llama[-_]?(\d(?:\.\d)?)(?![0-9A-Za-z])", re.IGNORECASE)
# A licence as the Hub (llama3.2), its own title or a person spells it.
_LICENCE = re.compile(r"\bllama[- ]?(\d(?:\.\d)?)(?![0-9])", re.IGNORECASE)


def llama_licences(licences: Iterable[str | None], refs: Iterable[str]) -> tuple[LlamaLicence, ...]:
    """Return the Llama licences that apply to a model, oldest first.

    Args:
        licences: what the model and its ancestors are said to be licensed under.
        refs: what its ancestors are called.
    """
    found = [_LICENCE.search(licence) for licence in licences if licence]
    found += [_REPOSITORY.search(ref.partition("@")[0]) for ref in refs]
    generations = {match.group(1) for match in found if match}
    return tuple(licence for generation, licence in LLAMA_LICENCES.items() if generation in generations)


def find_agreement(licence: LlamaLicence, folders: Iterable[Path]) -> Path | None:
    """Return the file that holds the text of a licence, from the first folder that has one."""
    for folder in folders:
        for path in sorted(path for pattern in LICENCE_PATTERNS for path in folder.glob(pattern)):
            if path.is_file() and licence.is_text(path.read_text(encoding="utf-8", errors="replace")):
                return path
    return None


_HUB_LICENCES = frozenset({
    "afl-3.0", "agpl-3.0", "apache-2.0", "bigscience-openrail-m", "bsd-2-clause", "bsd-3-clause", "bsl-1.0",
    "cc-by-4.0", "cc-by-nc-4.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-4.0", "cc-by-sa-4.0", "cc0-1.0", "gemma", "gpl-3.0",
    "isc", "lgpl-3.0", "mit", "mpl-2.0", "openrail", "unlicense",
})  # fmt: skip


def hub_licence(licence: str | None, llama: Iterable[LlamaLicence]) -> dict[str, str]:
    """Return the licence fields of a model card's metadata.

    A Llama licence stands before any other; of several the newest. One that the Hub has no identifier for is named.
    """
    if newest := list(llama)[-1:]:
        return {"license": newest[0].hub_id}
    if not licence:
        return {}
    identifier = licence.strip().lower().replace(" ", "-")
    return {"license": identifier} if identifier in _HUB_LICENCES else {"license": "other", "license_name": licence}
