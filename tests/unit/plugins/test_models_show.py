"""`timetrial models show` on real families: figures of the published shapes, folders and wrong names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from timetrial.cli.main import run_command_line


def show(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run_command_line(["models", "show", *arguments]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "parameters", "kv", "state"),
    [
        ("llama-3.2-3b", 3_212_749_824, 114_688, 0),
        ("llamba-4b", 3_832_753_824, 0, 46_104_576),
        ("mamba-in-llama-1b", 1_293_002_752, 8_192, 1_769_472),
    ],
)
def test_a_named_shape_is_described_without_its_weights(
    name: str, parameters: int, kv: int, state: int, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = json.loads(show(capsys, name, "--json"))
    assert (facts["parameters"], facts["kv_bytes_per_token"], facts["state_bytes"]) == (parameters, kv, state)
    assert facts["weight_bytes"] == facts["step_weight_bytes"] == 2 * parameters
    said = show(capsys, name)
    assert f"{parameters:,}" in said and name in said


def test_an_untied_embedding_is_stored_and_not_read(capsys: pytest.CaptureFixture[str]) -> None:
    facts = json.loads(show(capsys, "llama-3.1-8b", "--json", "--dtype", "float32"))
    assert facts["weight_bytes"] == 4 * facts["parameters"]
    assert facts["weight_bytes"] - facts["step_weight_bytes"] == 4 * 128_256 * 4_096
    assert "a decode step reads" in show(capsys, "llama-3.1-8b")


def test_a_folder_is_described_from_its_config_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = json.loads(show(capsys, "nutshell-llama", "--json"))
    assert facts["parameters"] == 1_686_528
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", **facts["shape"]}))
    assert json.loads(show(capsys, str(tmp_path), "--json"))["parameters"] == facts["parameters"]


def test_a_wrong_name_is_told_the_closest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["models", "show", "lamba-1b"]) == 2
    assert "did you mean 'llamba-1b'" in capsys.readouterr().err


def test_a_folder_of_no_known_family_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "mistral"}')
    assert run_command_line(["models", "show", str(tmp_path)]) != 0
    assert "mistral" in capsys.readouterr().err
