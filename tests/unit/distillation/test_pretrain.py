import json
import signal

import pytest
import torch
from safetensors.torch import load_file

from timetrial.error import CheckpointError, ConfigMismatchError, RunError, UsageError
from timetrial.testing.fake import FakeClock
from timetrial_distillation.pretrain import (
    LlamaSize,
    PretrainConfig,
    build_model,
    pretrain,
)
from timetrial_distillation.solutions import SolutionStream
from timetrial_distillation.trainer import LoopConfig
from timetrial_plugins.models.llama import Llama, LlamaConfig
from timetrial_plugins.nutshell.tokenizer import build_tokenizer, load_tokenizer

TINY = LlamaSize(hidden_size=16, intermediate_size=32, num_layers=2, num_heads=2, num_kv_heads=1, head_dim=8)


def make_config(num_steps=6, **changes):
    values = {
        "size": TINY,
        "loop": LoopConfig(num_steps=num_steps, learning_rate=0.01, checkpoint_every=4),
        "stream": SolutionStream(batch_examples=8, num_batches=2),
    }
    return PretrainConfig(**values | changes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "model"
    return out, pretrain(make_config(), out, clock=FakeClock(step_s=0))


def test_the_output_is_a_model_in_the_hub_layout(finished):
    out, result = finished
    config = LlamaConfig.from_json(json.loads((out / "config.json").read_text()))
    weights = load_file(out / "model.safetensors")
    model = Llama(config)
    model.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
    assert result.num_parameters == sum(tensor.numel() for tensor in weights.values())
    loaded = load_tokenizer(out)
    assert loaded.get_vocab() == build_tokenizer().get_vocab()
    assert config.vocab_size == len(loaded)
    ends = json.loads((out / "generation_config.json").read_text())
    assert ends["eos_token_id"] == loaded.eos_token_id
    assert json.loads((out / "training.json").read_text())["result"]["num_steps"] == 6


def test_transformers_reads_the_output_and_agrees(finished):
    from transformers import AutoModelForCausalLM

    out, _ = finished
    theirs = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32)
    ours = Llama(LlamaConfig.from_json(json.loads((out / "config.json").read_text())))
    weights = load_file(out / "model.safetensors")
    ours.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    tokens = torch.arange(6, 46).view(2, 20)
    with torch.no_grad():
        torch.testing.assert_close(ours.logits(tokens), theirs(tokens).logits, rtol=1e-4, atol=1e-5)


def test_stopped_and_resumed_gives_the_same_file(finished, tmp_path):
    def report(entry):
        if entry.step == 3:
            signal.raise_signal(signal.SIGINT)

    whole, _ = finished
    out = tmp_path / "model"
    with pytest.raises(KeyboardInterrupt):
        pretrain(make_config(), out, clock=FakeClock(step_s=0), report=report)
    assert not (out / "model.safetensors").exists()
    pretrain(make_config(), out, clock=FakeClock(step_s=0), resume=True)
    for name in ("model.safetensors", "config.json", "training.json", "tokenizer.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()


def test_the_seed_changes_the_initial_weights():
    first, second = (build_model(make_config(seed=seed), 50) for seed in (1, 2))
    assert not torch.equal(first.model.embed_tokens.weight, second.model.embed_tokens.weight)


def test_initial_weights_do_not_depend_on_the_global_random_state():
    torch.manual_seed(1)
    first = build_model(make_config(), 50)
    torch.manual_seed(2)
    second = build_model(make_config(), 50)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_folder_with_files_is_not_overwritten(tmp_path):
    (tmp_path / "precious.txt").write_text("x")
    with pytest.raises(UsageError, match="is not empty.*--resume"):
        pretrain(make_config(), tmp_path, clock=FakeClock(step_s=0))
    with pytest.raises(UsageError, match="no training run to resume"):
        pretrain(make_config(), tmp_path, clock=FakeClock(step_s=0), resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_a_file_as_output_folder_is_refused(tmp_path):
    path = tmp_path / "model"
    path.write_text("x")
    for resume in (False, True):
        with pytest.raises(UsageError, match="model"):
            pretrain(make_config(), path, clock=FakeClock(step_s=0), resume=resume)


def test_a_folder_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError, match="cannot write to"):
        pretrain(make_config(), tmp_path / "file" / "model", clock=FakeClock(step_s=0))


def test_resuming_with_another_config_shows_the_difference(finished):
    out, _ = finished
    with pytest.raises(ConfigMismatchError, match=r"loop\.num_steps: 6 before, 9 now"):
        pretrain(make_config(num_steps=9), out, clock=FakeClock(step_s=0), resume=True)


def test_a_damaged_config_is_refused(tmp_path):
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json is damaged"):
        pretrain(make_config(), tmp_path, clock=FakeClock(step_s=0), resume=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"num_layers": 0}, "num_layers is 0"), ({"num_kv_heads": 3}, "num_heads is 2"), ({"head_dim": 7}, "head_dim")],
)
def test_impossible_shapes_are_refused(change, message):
    values = {name: getattr(TINY, name) for name in LlamaSize.__slots__}
    with pytest.raises(UsageError, match=message):
        LlamaSize(**values | change)
