"""The model card of an exported version: metadata for the Hub, then the publisher's words, origin, figures, digests."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from timetrial_registry.evaluation import Benchmarks, figure_name, model_index, scaled
from timetrial_registry.licences import LlamaLicence, hub_licence
from timetrial_registry.lineage import to_text
from timetrial_registry.records import LineageNode, Metric, Version

if TYPE_CHECKING:
    from huggingface_hub import ModelCard

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_COLUMNS = ("data", "what", "samples", "value", "standard error", "problems", "seconds", "on", "run")


@dataclass(frozen=True, kw_only=True, slots=True)
class CardContent:
    """All that a card says."""

    title: str
    version: Version
    description: str | None
    lineage: LineageNode
    figures: tuple[Metric, ...]
    """Those that stand (`figures.standing`)."""
    llama: tuple[LlamaLicence, ...]
    benchmarks: Benchmarks
    publishers_card: str | None
    """The README.md that was published with the version."""


def model_card(content: CardContent) -> str:
    """Return the text of README.md."""
    from huggingface_hub import ModelCard, ModelCardData

    theirs = _publishers_card(content.publishers_card)
    fields: dict[str, Any] = theirs.data.to_dict()  # type: ignore[no-untyped-call]  # Any: YAML values
    fields |= _metadata(content, fields)
    results = [*(getattr(theirs.data, "eval_results", None) or ()), *model_index(content.figures, content.benchmarks)]
    if results:
        fields.pop("model-index", None)
        fields |= {"eval_results": results, "model_name": content.title}
    words = theirs.text.strip() or _introduction(content)
    body = "\n\n".join([words, *_terms(content), _origin(content), *_figures(content), _identity(content)])
    return str(ModelCard(f"---\n{ModelCardData(**fields).to_yaml()}\n---\n{body}\n"))


def ancestors(node: LineageNode) -> Iterator[LineageNode]:
    """Yield all that a version was made from."""
    for child in node.children:
        yield child
        yield from ancestors(child)


def _publishers_card(text: str | None) -> ModelCard:
    """Parse a README.md, which may be missing; of one whose metadata cannot be read the text is kept."""
    from huggingface_hub import ModelCard

    no_metadata = "---\n{}\n---\n"
    if not text or not text.startswith("---"):
        return ModelCard(no_metadata + (text or ""))
    try:
        return ModelCard(text, ignore_metadata_errors=True)
    except Exception:  # PyYAML's errors, which this package does not depend on, and ValueError
        return ModelCard(no_metadata + text.partition("---")[2].partition("\n---")[2])


def _metadata(content: CardContent, theirs: Mapping[str, Any]) -> dict[str, Any]:  # Any: YAML values
    provenance = content.version.manifest.provenance
    family = content.version.manifest.config.get("model_type")
    above = [node for node in ancestors(content.lineage) if _HUB_ID.fullmatch(node.ref)]
    own: dict[str, list[Any]] = {  # Any: YAML values
        "tags": ["timetrial", family, provenance.stage],
        "base_model": [node.ref for node in above if node.role in ("teacher", "init")],
        "datasets": [node.ref for node in above if node.role == "data"],
    }
    joined = {name: dict.fromkeys([*_listed(theirs.get(name)), *found]) for name, found in own.items()}
    return {
        "pipeline_tag": theirs.get("pipeline_tag", "text-generation"),
        "library_name": theirs.get("library_name", "timetrial"),
        **{name: [item for item in items if item] for name, items in joined.items() if items},
        **hub_licence(provenance.licence, content.llama),
    }


def _listed(value: Any) -> list[Any]:  # Any: YAML values
    return value if isinstance(value, list) else [] if value is None else [value]


def _introduction(content: CardContent) -> str:
    return "\n\n".join(part for part in (f"# {content.title}", content.description) if part)


def _terms(content: CardContent) -> Iterator[str]:
    for licence in content.llama:
        displayed = f"**{licence.built_with}.** " if licence.built_with else ""
        yield f"{displayed}{licence.notice} See NOTICE."


def _origin(content: CardContent) -> str:
    provenance = content.version.manifest.provenance
    facts = {
        "stage": provenance.stage,
        "tokens trained on": None if provenance.tokens is None else f"{provenance.tokens:,}",
        "seed": provenance.seed,
        "made with": ", ".join(f"{name} {number}" for name, number in provenance.versions.items()) or None,
    }
    said = [f"- {name}: {value}" for name, value in facts.items() if value is not None]
    tree = f"```text\n{to_text(content.lineage)}\n```"
    return "\n\n".join(["## How it was made", *(["\n".join(said)] if said else []), tree])


def _figures(content: CardContent) -> Iterator[str]:
    if not content.figures:
        return
    note = (
        "Shares are in percent. Seconds are decode seconds per problem for that many samples, on the hardware named. "
        "Coverage is what a perfect choice among the samples would reach (pass@k)."
    )
    rows = [_COLUMNS, ("---",) * len(_COLUMNS), *(_row(metric) for metric in content.figures)]
    yield "\n\n".join(("## Figures", note, "\n".join(f"| {' | '.join(row)} |" for row in rows)))


def _row(metric: Metric) -> tuple[str, ...]:
    seconds = metric.params.get("seconds")
    cells = (
        metric.dataset,
        figure_name(metric),
        metric.params.get("k"),
        f"{scaled(metric, metric.value):g}",
        metric.stderr and f"{scaled(metric, metric.stderr):.2g}",
        metric.n,
        seconds and f"{seconds:.3g}",
        metric.params.get("hardware"),
        metric.run_digest and metric.run_digest[:12],
    )
    return tuple("-" if cell is None else re.sub(r"([\\|`<*])", r"\\\1", str(cell)) for cell in cells)


def _identity(content: CardContent) -> str:
    version = content.version
    return (
        "## Which weights these are\n\n"
        f"Version {version.version} of `{version.name}`, published {version.created_at}. `lineage.json` lists its "
        "files with their sha256; `timetrial registry import` checks them.\n\n"
        f"- version, sha256: `{version.digest}`\n- tensors, sha256: `{version.tensor_digest}`"
    )
