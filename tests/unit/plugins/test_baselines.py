"""The paper's way of running a Llama: the same model with the same weights, timed at the same boundaries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from timetrial.cli.main import run_command_line
from timetrial.engines import EngineInput, TimedModel
from timetrial.error import CheckpointError, UsageError
from timetrial.protocol import OutOfMemory
from timetrial.spec import LoadOptions
from timetrial.testing import EchoModel, FakeClock
from timetrial_plugins.baselines.plugin import timetrial_engines
from timetrial_plugins.baselines.transformers_generate import GenerateModel, choose_attention, load_llama
from timetrial_plugins.models.plugin import timetrial_models

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "max_position_embeddings": 131072,
    "rope_scaling": {
        "rope_type": "llama3",
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
    "tie_word_embeddings": True,
    "eos_token_id": [3, 4],
}
FAMILIES = {spec.family: spec for spec in timetrial_models()}


def engine_input(config: dict[str, Any] = LLAMA, dtype: str = "float32") -> EngineInput:
    options, spec = LoadOptions(device="cpu", dtype=dtype), FAMILIES["llama"]
    assert spec.build_random is not None
    own = spec.build_random(config, options)
    return EngineInput(family="llama", config=config, folder=None, own=own, options=options)


class Counted(FakeClock):
    """A clock that notes how often the module had been called whenever it is read."""

    def __init__(self, model: GenerateModel) -> None:
        super().__init__()
        self.calls, self.at_readings = 0, list[int]()
        model.module.register_forward_hook(self._count)

    def _count(self, *arguments: Any) -> None:
        self.calls += 1

    def now(self) -> float:
        self.at_readings.append(self.calls)
        return super().now()


@pytest.mark.parametrize("is_tied", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.02)])
def test_it_is_the_same_model_with_the_same_weights_in_the_same_memory(
    is_tied: bool, dtype: str, tolerance: float
) -> None:
    given = engine_input(LLAMA | {"tie_word_embeddings": is_tied}, dtype)
    theirs = load_llama(given)
    tokens = torch.arange(20).reshape(2, 10)
    with torch.no_grad():
        logits = theirs.module(tokens).logits.float()
    torch.testing.assert_close(logits, given.own.logits(tokens), rtol=tolerance, atol=tolerance)
    own = {parameter.data_ptr() for parameter in given.own._module.parameters()}  # type: ignore[attr-defined]
    assert {parameter.data_ptr() for parameter in theirs.module.parameters()} == own


def test_between_the_clocks_lie_as_many_steps_as_new_tokens_and_the_prefill_before_them() -> None:
    model = load_llama(engine_input())
    clock = Counted(model)
    times = model.decode_timing(3, 5, 7, clock=clock, seed=0)
    assert clock.at_readings == [0, 1, 8], "before the prefill, after it, and after seven steps"
    assert times.prefill_s == times.decode_s == 1.0 and not times.is_prompt_shared
    assert times.peak_bytes is None or times.peak_bytes > 0


def test_the_end_of_sequence_ends_nothing() -> None:
    model = load_llama(engine_input())
    with torch.no_grad():
        for parameter in model.module.parameters():
            parameter.zero_()  # every token, the ends of sequence included, is as likely as any other
    clock = Counted(model)
    model.decode_timing(64, 2, 40, clock=clock, seed=0)
    assert clock.at_readings[-1] == 41


def test_every_sequence_reads_the_prompt_and_draws_tokens_of_its_own() -> None:
    model, shapes = load_llama(engine_input()), []
    model.module.register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append(kwargs["input_ids"].clone()), with_kwargs=True
    )
    model.decode_timing(8, 5, 4, clock=FakeClock(), seed=0)
    prefill, *steps = shapes
    assert prefill.shape == (8, 5) and bool((prefill == prefill[0]).all())
    assert [step.shape for step in steps] == [(8, 1)] * 4
    drawn = torch.cat(steps, dim=1)
    assert len({tuple(row) for row in drawn.tolist()}) > 1


def test_what_runs_the_steps_is_said() -> None:
    model = load_llama(engine_input())
    assert isinstance(model, TimedModel)
    assert (
        model.description["kernels"] == f"transformers {transformers.__version__} generate, sdpa, dynamic cache, eager"
    )
    assert json.loads(json.dumps(model.description)) == model.description
    compiled = GenerateModel(model.module, "flash_attention_2", is_compiled=True)
    assert compiled.description["kernels"].endswith("flash_attention_2, static cache, compiled")


def test_flash_attention_is_taken_where_it_is_installed_and_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    import timetrial_plugins.baselines.transformers_generate as module

    cuda, half = torch.device("cuda"), torch.bfloat16
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert choose_attention(cuda, half) == "sdpa"
    monkeypatch.setattr(module, "find_spec", lambda name: object())
    assert choose_attention(cuda, half) == "flash_attention_2"
    assert choose_attention(cuda, torch.float32) == "sdpa"
    assert choose_attention(torch.device("cpu"), half) == "sdpa"


def test_running_out_of_memory_is_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_llama(engine_input())

    def full(*arguments: Any, **options: Any) -> None:
        raise torch.OutOfMemoryError("no")

    monkeypatch.setattr(model.module, "generate", full)
    with pytest.raises(OutOfMemory):
        model.decode_timing(1, 2, 3, clock=FakeClock(), seed=0)


def test_a_llama_of_another_engine_and_a_config_of_another_shape_are_refused() -> None:
    given = engine_input()
    foreign = EngineInput(
        family="llama", config=LLAMA, folder=None, own=EchoModel(), options=given.options  # type: ignore[arg-type]
    )  # fmt: skip
    with pytest.raises(CheckpointError, match="EchoModel does not show its weights"):
        load_llama(foreign)
    wider = EngineInput(
        family="llama", config=LLAMA | {"hidden_size": 64}, folder=None, own=given.own, options=given.options
    )
    with pytest.raises(CheckpointError, match="cannot build this Llama"):
        load_llama(wider)
    deeper = EngineInput(
        family="llama", config=LLAMA | {"num_hidden_layers": 3}, folder=None, own=given.own, options=given.options
    )
    with pytest.raises(CheckpointError, match="another Llama"):
        load_llama(deeper)


def test_families_that_transformers_lacks_are_given_a_reason() -> None:
    for spec in timetrial_engines():
        assert spec.why_not("llama") is None
        for family in ("llamba", "mamba_in_llama", "anything"):
            reason = spec.why_not(family)
            assert reason is not None and repr(family) in reason


def test_without_a_compiler_there_is_nothing_to_compile_with(monkeypatch: pytest.MonkeyPatch) -> None:
    import timetrial_plugins.baselines.transformers_generate as module

    monkeypatch.setattr(module, "which", lambda name: None)
    with pytest.raises(UsageError, match="no C\\+\\+ compiler.*'paper-style' instead"):
        load_llama(engine_input(), is_compiled=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.* is deprecated:DeprecationWarning")  # torch's compiler
def test_a_static_cache_and_a_compiled_step_take_the_same_readings() -> None:
    _, compiled = timetrial_engines()
    model = compiled.load(engine_input())
    assert isinstance(model, GenerateModel)
    caches = []
    model.module.register_forward_pre_hook(
        lambda module, args, kwargs: caches.append(kwargs["past_key_values"]), with_kwargs=True
    )
    for batch, prompt_tokens in ((2, 9), (3, 9), (3, 5)):
        times = model.decode_timing(batch, prompt_tokens, 4, clock=FakeClock(), seed=0)
        assert times.prefill_s == times.decode_s == 1.0
        assert caches[-1].layers[0].max_cache_len == prompt_tokens + 4, "and not that of the longest before"
    assert "static cache, compiled" in model.description["kernels"]


@pytest.mark.usefixtures("known_rates")
def test_both_are_timed_side_by_side_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hybrid = LLAMA | {"mamba_config": {"d_model": 32, "ssm_cfg": {"expand": 1}, "d_xb": 16, "attn_layers": [1]}}
    folders = []
    for name, config in (("llama", LLAMA), ("hybrid", hybrid)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config))
        folders.append(str(tmp_path / name))
    command = ["time", "--random-weights", ",".join(folders), "--engine", "own,paper-style", "--batch", "1,4"]
    command += ["--prompt-tokens", "4", "--new-tokens", "2", "--repeats", "2", "--device", "cpu", "-q"]
    command += ["--out", str(tmp_path / "run")]
    assert run_command_line([*command, "--json"]) == 0
    outcome = json.loads(capsys.readouterr().out)
    llama, other = folders
    timed = {(batch["model"], batch["engine"], batch["batch"]) for batch in outcome["batches"]}
    assert timed == {(llama, "own", 1), (llama, "own", 4), (llama, "paper-style", 1), (llama, "paper-style", 4),
                     (other, "own", 1), (other, "own", 4)}  # fmt: skip
    pairs = {(each["model"], each["engine"], each["baseline_engine"]) for each in outcome["speed_ups"]}
    assert pairs == {(llama, "own", "paper-style"), (other, "own", "own"), (other, "own", "paper-style")}
    assert [(each["model"], each["engine"]) for each in outcome["missing_engines"]] == [(other, "paper-style")]
    floors = {
        (batch["engine"], batch["batch"]): batch["floor_s"] for batch in outcome["batches"] if batch["model"] == llama
    }
    assert floors["own", 4] == floors["paper-style", 4] > 0
    assert run_command_line(command) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "over paper-style" in printed and "not timed: transformers has no class" in printed
