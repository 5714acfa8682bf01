"""The name `timetrial` is known to lm-eval, whoever comes first, and takes none of its own names away."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def python(code: str) -> str:
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_lm_evals_own_models_are_still_found_after_registering_and_nothing_heavy_is_imported():
    code = (
        "from timetrial_plugins.general.registration import register\nregister(); register()\n"
        "from lm_eval.api.registry import get_model, model_registry\nimport sys\n"
        "print(get_model('dummy').__name__, 'timetrial' in model_registry, 'torch' in sys.modules)"
    )
    assert python(code).split() == ["DummyLM", "True", "False"]


@pytest.mark.slow
def test_lm_evals_own_command_takes_the_model_by_name(long_checkpoint, data_dir, tmp_path):
    definition = (
        "task: named\ndataset_path: json\n"
        f"dataset_kwargs: {{data_files: {{test: {data_dir}/local/texts/test.jsonl}}}}\n"
        'test_split: test\noutput_type: loglikelihood\ndoc_to_text: "{{text}}"\ndoc_to_target: "{{answer}}"\n'
        "metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]\n"
    )
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/named.yaml").write_text(definition)
    arguments = [
        *("run", "--model", "timetrial", "--model_args", f"model={long_checkpoint},dtype=float32", "--tasks", "named"),
        *("--include_path", str(tmp_path / "tasks"), "--device", "cpu", "--batch_size", "4"),
        *("--output_path", str(tmp_path / "out")),
    ]
    command = [sys.executable, "-m", "timetrial_plugins.general", *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert finished.returncode == 0, finished.stderr
    (path,) = Path(tmp_path / "out").rglob("results_*.json")
    assert 0 <= json.loads(path.read_text())["results"]["named"]["acc,none"] <= 1
