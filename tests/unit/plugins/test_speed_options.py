"""What a user may choose that changes speed: number formats of weights and states, and compiled steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from timetrial.cli.main import run_command_line
from timetrial.clock import MonotonicClock
from timetrial.error import UnknownNameError, UsageError
from timetrial.protocol import Sampling
from timetrial.spec import LoadOptions
from timetrial_plugins.engine import placement
from timetrial_plugins.engine.model import EngineModel
from timetrial_plugins.engine.random_weights import build_random
from timetrial_plugins.engine.sampler import Sampler
from timetrial_plugins.models.families import BUILDERS
from timetrial_plugins.models.packed import PackedProduct, can_pack
from timetrial_plugins.ops.native.build import build_problem

GREEDY = Sampler(Sampling(temperature=0.0))
LLAMBA: dict[str, Any] = {
    "vocab_size": 61,
    "d_model": 48,
    "n_layer": 2,
    "tie_embeddings": True,
    "mlp_cfg": {"intermediate_size": 64},
    "ssm_cfg": {"d_state": 8, "n_v_heads": 6, "n_qk_heads": 6},
}
LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 61,
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 8,
}


def build(family: str, **options: Any) -> EngineModel:
    config = {"llamba": LLAMBA, "llama": LLAMA}[family]
    return build_random(config, LoadOptions(device="cpu", **options), family=family, build=BUILDERS[family])


@pytest.mark.parametrize(("asked", "kept", "size"), [("auto", "float32", 4), ("bfloat16", "bfloat16", 2)])
def test_the_format_of_states_is_kept_counted_and_recorded(asked: str, kept: str, size: int) -> None:
    model = build("llamba", state_dtype=asked)
    state = model._module.init_state(1, 8)
    assert str(state.buffers["ssm"].dtype) == f"torch.{kept}" and model.description["state_dtype"] == kept
    recurrent = model._module.footprint.state_bytes - 2 * (48 * 3) * 4 * 4  # without the convolutions' inputs
    assert recurrent == 2 * 48 * 8 * size


def test_a_model_without_states_names_no_format_of_them() -> None:
    assert "state_dtype" not in build("llama").description


def test_a_state_in_bfloat16_gives_nearly_the_same_logits() -> None:
    tokens = torch.arange(12)[None]
    after = []
    for state_dtype in ("auto", "bfloat16"):
        module = build("llamba", state_dtype=state_dtype)._module
        with torch.inference_mode():
            state = module.init_state(1, 20)
            module.prefill(tokens, state)
            after.append(torch.stack([module.step(torch.tensor([token]), state) for token in range(6)]))
    assert torch.allclose(*after, atol=0.02) and not torch.equal(*after)


def test_a_format_that_is_none_for_states_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown state dtype 'float17': did you mean"):
        build("llamba", state_dtype="float17")


@pytest.mark.parametrize("family", ["llama", "llamba"])
def test_bfloat16_is_packed_where_the_processor_multiplies_it_and_is_close_to_float32(family: str) -> None:
    wide, narrow = build(family), build(family, dtype="bfloat16")
    narrow._module.load_state_dict(wide._module.state_dict())
    narrow._module.keep()
    is_packed = narrow._steps is not None or can_pack(torch.bfloat16, torch.device("cpu"))
    assert ("packed" in narrow.description["kernels"]) is is_packed
    if is_packed:  # the weights as they are now
        narrow._module.pack(PackedProduct if narrow._steps is None else narrow._steps.products)
    tokens, logits = torch.arange(7)[None], []
    for model in (wide, narrow):
        with torch.inference_mode():
            state = model._module.init_state(1, 9)
            first = model._module.prefill(tokens, state)
            logits.append(torch.cat((first, model._module.step(torch.tensor([3]), state))))
    assert logits[1].dtype == torch.float32 and torch.allclose(*logits, atol=0.05)


@pytest.mark.skipif(build_problem() is not None, reason=str(build_problem()))
@pytest.mark.parametrize("family", ["llama", "llamba"])
def test_weights_too_large_to_copy_are_said_before_the_first_step(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert build(family, kernels="native").description["kernels"] == "native, weights packed"
    monkeypatch.setattr("timetrial_plugins.engine.model._MOST_PACKED_BYTES", 0)
    large = build(family, kernels="native").description["kernels"]
    assert large.startswith("native (a step calls aten.") and "packed" not in large


@pytest.mark.skipif(build_problem() is not None, reason=str(build_problem()))
@pytest.mark.parametrize("family", ["llama", "llamba"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_kernels_in_c_and_the_modules_own_steps_give_the_same_logits(family: str, dtype: str) -> None:
    models = {kernels: build(family, dtype=dtype, kernels=kernels) for kernels in ("native", "eager")}
    assert models["native"].description["kernels"].startswith("native")
    models["eager"]._module.load_state_dict(models["native"]._module.state_dict())
    models["eager"]._module.keep()
    models["eager"]._module.pack(PackedProduct)
    own, device = (models[kernels]._batch(GREEDY, 3, 20, shares_prompts=False) for kernels in ("eager", "native"))
    for batch in (own, device):
        batch.admit(batch.prefill([5, 9, 2, 44]), [1, 2])
        batch.admit(batch.prefill([1, 2, 3, 4, 5, 6, 7, 8, 9]), [3])
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == "float32" else {"rtol": 0.05, "atol": 0.05}
    for _ in range(6):
        assert torch.equal(own.advance(), device.advance())
        torch.testing.assert_close(device._step.logits, own._logits, **tolerance)


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method:DeprecationWarning")  # PyTorch warns of itself
def test_a_compiled_model_says_which_parts_are_and_one_that_gains_nothing_says_so() -> None:
    assert build("llamba", compile=True).description["kernels"].startswith("pytorch-compiled (ssd_step_in_place)")
    assert build("llama", compile=True).description["kernels"].startswith("pytorch-eager (nothing to compile)")
    assert build("llamba", kernels="eager").description["kernels"].startswith("pytorch-eager, ")


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method:DeprecationWarning")  # PyTorch warns of itself
def test_compiling_without_a_compiler_is_refused_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch._inductor.cpp_builder

    def fail() -> str:
        raise torch._inductor.exc.InvalidCxxCompiler()

    monkeypatch.setattr(torch._inductor.cpp_builder, "get_cpp_compiler", fail)
    with pytest.raises(UsageError, match=r"a C\+\+ compiler.*--compile"):
        build("llamba", compile=True)
    placement.check_compiler(torch.device("cuda"))  # compiles with something else


@pytest.mark.usefixtures("known_rates")
def test_a_run_records_its_options_of_speed_and_mixes_no_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMBA | {"model_type": "llamba"}))
    run = tmp_path / "run"
    command = ["time", "--random-weights", str(tmp_path), "--batch", "1", "--prompt-tokens", "4", "--new-tokens", "2"]
    command += ["--repeats", "1", "--device", "cpu", "--out", str(run), "-q"]
    assert run_command_line([*command, "--state-dtype", "bfloat16"]) == 0
    (machine,) = json.loads((run / "environment.json").read_text()).values()
    assert machine["models"][str(tmp_path)]["state_dtype"] == "bfloat16"
    assert json.loads((run / "config.json").read_text())["config"]["compile"] is False
    capsys.readouterr()
    assert run_command_line([*command, "--compile"]) != 0
    refusal = capsys.readouterr().err
    assert "state_dtype: the run has 'bfloat16', asked for 'auto'" in refusal
    assert "compile: the run has False, asked for True" in refusal


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method:DeprecationWarning")  # PyTorch warns of itself
def test_a_compiled_model_is_timed() -> None:
    times = build("llamba", compile=True).decode_timing(3, 4, 3, clock=MonotonicClock(), seed=0)
    assert times.decode_s > 0
