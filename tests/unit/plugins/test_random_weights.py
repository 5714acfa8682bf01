"""Configurations timed with random weights: every family, without a checkpoint, a tokenizer or a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from timetrial.cli.main import run_command_line
from timetrial.error import CheckpointError, UsageError
from timetrial.floor import decode_cost
from timetrial.protocol import Model, Sampling
from timetrial.rates import MachineRates
from timetrial.spec import LoadOptions, ModelSpec
from timetrial.testing.fake import FakeClock
from timetrial_plugins.engine import placement
from timetrial_plugins.engine.random_weights import RandomModel
from timetrial_plugins.models.configurations import named_configurations
from timetrial_plugins.models.plugin import timetrial_models

FAMILIES = {spec.family: spec for spec in timetrial_models()}
LLAMA = {
    "model_type": "llama",
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": LLAMA,
    "llamba": {
        "model_type": "llamba",
        "vocab_size": 96,
        "d_model": 32,
        "n_layer": 2,
        "tie_embeddings": True,
        "mlp_cfg": {"intermediate_size": 48, "bias": False, "act_fn": "silu"},
        "ssm_cfg": {"d_state": 8, "n_v_heads": 4, "n_qk_heads": 4, "expand": 1, "chunk_size": 16, "bias": False},
    },
    "mamba_in_llama": {
        **LLAMA,
        "mamba_config": {"d_model": 32, "ssm_cfg": {"expand": 1}, "d_xb": 16, "attn_layers": [1], "n_layer": 2},
    },
}
CPU = LoadOptions(device="cpu", dtype="float32")


def build(family: str, options: LoadOptions = CPU) -> RandomModel:
    spec: ModelSpec = FAMILIES[family]
    assert spec.build_random is not None
    model = spec.build_random(CONFIGS[family], options)
    assert isinstance(model, RandomModel)
    return model


def write(folder: Path, config: dict[str, Any]) -> str:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_family_is_timed_without_a_checkpoint(family: str, dtype: str) -> None:
    model: Model = build(family, LoadOptions(device="cpu", dtype=dtype))
    assert isinstance(model, Model)
    times = model.decode_timing(3, 5, 4, clock=FakeClock(), seed=0)
    assert times.prefill_s > 0 and times.decode_s > 0
    assert model.description["weights"] == "random" and model.description["dtype"] == dtype
    assert json.loads(json.dumps(model.description)) == model.description


@pytest.mark.parametrize("family", FAMILIES)
def test_random_weights_give_finite_logits_that_differ_and_are_the_same_again(family: str) -> None:
    import torch

    tokens = torch.arange(20).reshape(2, 10)
    logits = build(family).logits(tokens)
    assert bool(torch.isfinite(logits).all()) and float(logits.std()) > 0
    assert torch.equal(logits, build(family).logits(tokens))


@pytest.mark.parametrize("family", FAMILIES)
def test_random_weights_refuse_to_be_asked_anything(family: str) -> None:
    model = build(family)
    with pytest.raises(UsageError, match="can be timed, not asked"):
        model.generate([], Sampling(temperature=1.0), batch_size=1)
    with pytest.raises(UsageError, match="no tokenizer"):
        model.tokenizer.encode("x")
    with pytest.raises(UsageError, match="no tokenizer"):
        model.tokenizer.decode([1])


def test_weights_that_do_not_fit_are_refused_before_memory_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "free_bytes", lambda device: 2_000_000_000)
    (shape,) = (shape for shape in named_configurations() if shape.name == "llamba-4b")
    spec = FAMILIES["llamba"]
    assert spec.build_random is not None
    with pytest.raises(UsageError, match=r"3,832,753,824 parameters in float32 needs 15\.3 GB.* 2 GB free.*bfloat16"):
        spec.build_random(shape.config, CPU)
    with pytest.raises(UsageError, match=r"in bfloat16 needs 7\.67 GB.*smaller configuration\."):
        spec.build_random(shape.config, LoadOptions(device="cpu", dtype="bfloat16"))


def test_a_config_that_no_module_can_be_built_of_is_refused() -> None:
    spec = FAMILIES["llama"]
    assert spec.build_random is not None
    with pytest.raises(CheckpointError, match="hidden_size"):
        spec.build_random({"model_type": "llama"}, CPU)


@pytest.mark.usefixtures("known_rates")
def test_configurations_are_timed_swept_compared_and_continued_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [write(tmp_path / family, config) for family, config in CONFIGS.items()]
    command = ["time", "--random-weights", ",".join(folders), "--batch", "1,4", "--prompt-tokens", "4,8"]
    command += ["--new-tokens", "2", "--repeats", "1", "--device", "cpu", "--out", str(tmp_path / "run"), "-q"]
    assert run_command_line([*command, "--json"]) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert len(outcome["batches"]) == 3 * 2 * 2
    for batch in outcome["batches"]:
        assert batch["weights"] == "random" and batch["step_bytes"] > 0 and batch["step_flops"] > 0
        assert batch["percent_of_floor"] == pytest.approx(100 * batch["floor_s"] / batch["decode_s"])
    assert {(each["model"], each["baseline"]) for each in outcome["speed_ups"]} == {
        (folder, folders[0]) for folder in folders[1:]
    }
    assert run_command_line([*command, "--json", "--baseline", folders[2]]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["timings"] == outcome["timings"], "nothing is timed twice"
    assert {each["baseline"] for each in again["speed_ups"]} == {folders[2]}
    assert run_command_line(command) == 0
    printed = capsys.readouterr().out
    assert "Floors of 8 prompt tokens" in printed and "Speed-up over" in printed and "random weights" in printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--random-weights", "llamba-4"], "did you mean 'llamba-4b'?"),
        (["--random-weights", "llamba-4b", "--model", "nutshell-llama"], "either with --model or with"),
        ([], "either with --model or with"),
        (["--random-weights", "llamba-4b", "--baseline", "llama"], "unknown baseline 'llama'"),
        (["--random-weights", "llamba-4b", "--prompt-tokens", "8,,9"], "empty item"),
        (["--random-weights", "llamba-4b", "--prompt-tokens", "0"], "prompt tokens is 0"),
        (["--random-weights", "llamba-4b", "--batch", "2,2"], "batch 2 is given 2 times"),
        (["--model", "llamba-4b"], "timetrial time --random-weights llamba-4b"),
    ],
)
def test_what_cannot_be_timed_is_refused_with_the_cure(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["time", *arguments, "--out", str(tmp_path / "run")]) != 0
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()


# At an H100's published 3.35 TB/s and 989e12 operations a second, worked out apart from the sizes in docs/models.md.
@pytest.mark.parametrize(("name", "batch", "expected_ms"), [
    ("llama-3.2-1b", 1, 0.75),
    ("llama-3.2-1b", 256, 2.66),
    ("llama-3.2-1b", 512, 5.13),
    ("llama-3.2-3b", 512, 16.79),
    ("llamba-4b", 1, 2.32),
    ("llamba-4b", 512, 18.06),
    ("mamba-in-llama-3b", 32, 2.33),
    ("mamba-in-llama-3b", 512, 7.94),
])  # fmt: skip
def test_the_papers_models_have_the_floors_of_their_sizes(name: str, batch: int, expected_ms: float) -> None:
    import torch

    from timetrial_plugins.engine.model import EngineModel, LoadedCheckpoint
    from timetrial_plugins.engine.random_weights import NoTokenizer
    from timetrial_plugins.models.families import BUILDERS

    (shape,) = (shape for shape in named_configurations() if shape.name == name)
    with torch.device("meta"):
        module = BUILDERS[shape.family](shape.config).to(torch.bfloat16)
    model = EngineModel(
        LoadedCheckpoint(
            family=shape.family,
            folder=Path(),
            module=module,
            tokenizer=NoTokenizer(),
            eos_ids=frozenset(),
            device=torch.device("meta"),
            dtype=torch.bfloat16,
        )
    )
    rates = MachineRates(bandwidths=((1, 3.35e12),), flops_per_s=989e12, device="H100", dtype="bfloat16")
    floor_s = decode_cost(model, batch, 512, 512, rates).floor_s
    assert floor_s is not None
    assert 1000 * floor_s / 512 == pytest.approx(expected_ms, rel=1e-3, abs=0.006)
