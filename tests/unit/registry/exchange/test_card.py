"""The card and the evaluation files of an export parse back with the Hub's own library."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries

from timetrial_registry import Registry
from timetrial_registry.error import RegistryError
from timetrial_registry.evaluation import parse_benchmarks
from timetrial_registry.export import ExportOptions, export_version
from timetrial_registry.records import Version

OPTIONS = ExportOptions(
    repository="me/Llama-student", benchmarks=parse_benchmarks(["math-500=HuggingFaceH4/MATH-500:math_500"])
)


@pytest.fixture
def folder(registry: Registry, student: Version, tmp_path: Path) -> Path:
    return export_version(registry, student, tmp_path / "out", OPTIONS).folder


def test_the_metadata_parses_back_and_names_licence_teacher_and_data(folder: Path) -> None:
    data = ModelCard.load(folder / "README.md").data
    assert data.license == "llama3.2"
    assert data.base_model == ["meta-llama/Llama-3.2-1B"]
    assert data.datasets == ["nvidia/OpenMathInstruct-2"]
    assert data.tags == ["timetrial", "llama", "mohawk-3"]
    assert data.language == "en", "what the publisher's card says is kept"


def test_the_model_index_comes_back_as_the_figures_that_went_in(folder: Path) -> None:
    data = ModelCard.load(folder / "README.md").data
    assert data.model_name == "Llama-student"
    results = {(result.metric_type, result.metric_args["k"]): result for result in data.eval_results}
    assert set(results) == {(kind, k) for k in (1, 2, 4) for kind in (f"pass@{k}", "accuracy")}
    assert results["pass@4", 4].metric_value == 29.0
    majority = results["accuracy", 2]
    assert (majority.dataset_type, majority.dataset_name) == ("HuggingFaceH4/MATH-500", "math-500")
    assert majority.metric_args == {
        "task": "math-500", "temperature": 0.6, "num_samples": 4, "hardware": "H200 (abc)", "aggregator": "majority",
        "k": 2, "seconds": 3.0, "low": 0.2, "high": 0.4, "stderr": 2.12, "problems": 500, "run": "a" * 64,
    }  # fmt: skip


def test_saving_a_card_anew_changes_nothing_in_it(folder: Path, tmp_path: Path) -> None:
    ModelCard.load(folder / "README.md").save(tmp_path / "again.md")
    again, before = ModelCard.load(tmp_path / "again.md"), ModelCard.load(folder / "README.md")
    assert again.data.to_dict() == before.data.to_dict() and again.text.strip() == before.text.strip()


def test_the_evaluation_files_parse_as_the_newer_form(folder: Path) -> None:
    (path,) = (folder / ".eval_results").iterdir()
    entries = parse_eval_result_entries(yaml.safe_load(path.read_text()))
    assert len(entries) == 6
    assert {(entry.dataset_id, entry.task_id) for entry in entries} == {("HuggingFaceH4/MATH-500", "math_500")}
    assert {entry.source_url for entry in entries} == {"https://huggingface.co/me/Llama-student"}
    notes = {entry.notes: entry.value for entry in entries}
    assert notes["accuracy, majority, T = 0.6, 4 samples, 500 problems"] == 29.0
    assert notes["coverage, T = 0.6, 1 sample, 500 problems"] == 26.0


def test_data_that_is_no_benchmark_of_the_hub_has_no_evaluation_file(
    registry: Registry, student: Version, tmp_path: Path
) -> None:
    export_version(registry, student, tmp_path / "plain")
    assert not (tmp_path / "plain" / ".eval_results").exists()
    results = ModelCard.load(tmp_path / "plain" / "README.md").data.eval_results
    assert {result.dataset_type for result in results} == {"math-500"}


def test_the_text_keeps_the_publishers_words_and_adds_origin_figures_and_digests(
    folder: Path, student: Version
) -> None:
    text = ModelCard.load(folder / "README.md").text
    assert "# Student\n\nTrained by hand." in text
    assert "**Built with Llama.** Llama 3.2 is licensed under" in text
    assert "tokens trained on: 3,000,000" in text and "torch 2.13" in text
    assert "|-- teacher: teacher@1" in text and "init: meta-llama/Llama-3.2-1B at c0ffee" in text
    assert "| math-500 | accuracy, majority, T = 0.6 | 2 | 27 | 2.1 | 500 | 3 | H200 (abc) | aaaaaaaaaaaa |" in text
    assert student.digest in text and student.tensor_digest in text


def test_a_version_without_a_card_is_introduced_by_its_description(
    registry: Registry, free: Version, tmp_path: Path
) -> None:
    registry.publish("free", registry.folder(free), free.manifest.provenance, description="Free for all.")
    export_version(registry, "free", tmp_path / "out")
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert card.text.strip().startswith("# free\n\nFree for all.")
    assert card.data.license == "mit" and "Figures" not in card.text and "Llama" not in card.text


@pytest.mark.parametrize(
    "readme", ["---\nlicense: [broken\n---\n# Words\n", "---\n- a list\n---\n# Words\n", "# Words\n"]
)
def test_a_publishers_card_whose_metadata_cannot_be_read_keeps_its_words(
    registry: Registry, make_checkpoint: object, tmp_path: Path, readme: str
) -> None:
    registry.publish("odd", make_checkpoint("odd", README__md=readme))  # type: ignore[operator]
    export_version(registry, "odd", tmp_path / "out")
    assert ModelCard.load(tmp_path / "out" / "README.md").text.strip().startswith("# Words")


@pytest.mark.parametrize("text", ["math-500", "math-500=MATH", "math-500=a/b", "math-500=a/b:"])
def test_a_benchmark_of_another_form_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(RegistryError, match="expected DATA=OWNER/DATASET:TASK"):
        parse_benchmarks([text])
