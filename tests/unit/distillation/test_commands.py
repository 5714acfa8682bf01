import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from timetrial.error import UnknownNameError, UsageError
from timetrial_distillation.commands import distill
from timetrial_distillation.plugin import timetrial_commands


def invoke(*arguments):
    return CliRunner().invoke(distill, ["pretrain", *map(str, arguments)])


def test_the_plugin_offers_distill_without_importing_torch():
    code = (
        "import sys; from timetrial_distillation.plugin import timetrial_commands as hook;"
        "(spec,) = hook(); assert spec.name == 'distill'; command = spec.load();"
        "assert 'pretrain' in command.commands; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_spec_loads_the_group():
    (spec,) = timetrial_commands()
    assert spec.load() is distill


def test_two_steps_of_the_recipe_write_a_model_and_resume_to_the_same(tmp_path):
    out = tmp_path / "model"
    done = invoke("--out", out, "--steps", 2, "--seed", 5, "--threads", 1, "--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["num_steps"] == 2
    assert (out / "model.safetensors").stat().st_size < 8_000_000
    weights = (out / "model.safetensors").read_bytes()
    again = invoke("--out", out, "--steps", 2, "--seed", 5, "--resume")
    assert again.exit_code == 0
    assert "2 steps" in again.stdout
    assert (out / "model.safetensors").read_bytes() == weights


def test_an_unknown_recipe_offers_the_closest(tmp_path):
    result = invoke("--recipe", "nutshel-lama", "--out", tmp_path / "model")
    assert isinstance(result.exception, UnknownNameError)
    assert "nutshell-llama" in str(result.exception)
    assert not (tmp_path / "model").exists()


def test_a_used_folder_is_refused(tmp_path):
    (tmp_path / "note.txt").write_text("x")
    result = invoke("--out", tmp_path)
    assert isinstance(result.exception, UsageError)
    assert "is not empty" in str(result.exception)


@pytest.mark.parametrize("arguments", [("--steps", "0"), ("--steps", "many"), ("--threads", "0"), ("--seed", "x")])
def test_bad_values_are_refused_by_option(arguments, tmp_path):
    result = invoke("--out", tmp_path / "model", *arguments)
    assert result.exit_code == 2
    assert arguments[0] in result.output
