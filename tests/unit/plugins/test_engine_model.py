"""The engine's Model: completions that depend on nothing but their names, and every way in which they end."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import timetrial_plugins
from timetrial.error import UsageError
from timetrial.protocol import Generation, OutOfMemory, Request, Sampling
from timetrial.record import Message, Prompt
from timetrial.spec import LoadOptions
from timetrial.testing.fake import FakeClock
from timetrial_plugins.device.batch import DeviceBatch
from timetrial_plugins.engine.batch import DecodeBatch, Move
from timetrial_plugins.engine.model import EngineModel
from timetrial_plugins.models.interface import DecodeState
from timetrial_plugins.models.plugin import timetrial_models
from timetrial_plugins.ops.native.build import build_problem

MakeCheckpoint = Callable[..., Path]
SHIPPED = Path(timetrial_plugins.__file__).parent / "nutshell" / "llama"
SAMPLED = Sampling(temperature=1.0, max_tokens=24, seed=3)
GREEDY = Sampling(temperature=0.0, max_tokens=24)
EOS = 257
TEXTS = ("What is 2 + 3?", "Tom has 12 apples and eats 5 of them. How many are left?", "Name a prime.", "?")
PROMPTS = [Prompt(problem=f"p{i}", messages=(Message("user", text),)) for i, text in enumerate(TEXTS)]


def load(folder: Path, kernels: str = "auto") -> EngineModel:
    model = timetrial_models()[0].load(folder, LoadOptions(device="cpu", dtype="float32", kernels=kernels))
    assert isinstance(model, EngineModel)
    return model


def copy(folder: Path, target: Path) -> Path:
    return Path(shutil.copytree(folder, target / "copy"))


@pytest.fixture(scope="module", params=["native", "eager"])
def model(request: pytest.FixtureRequest, tiny_checkpoint: Path) -> EngineModel:
    """The model as it runs on a CPU, with kernels in C and without."""
    if request.param == "native" and (problem := build_problem()) is not None:
        pytest.skip(problem)
    return load(tiny_checkpoint, request.param)


def requests(num_samples: int, prompts: Sequence[Prompt] = PROMPTS) -> list[Request]:
    return [Request(prompt=prompt, sample=sample) for prompt in prompts for sample in range(num_samples)]


def by_request(
    model: EngineModel, wanted: Sequence[Request], sampling: Sampling, batch_size: int = 64
) -> dict[Request, Generation]:
    generations = list(model.generate(wanted, sampling, batch_size=batch_size))
    assert len(generations) == len(wanted)
    return {generation.request: generation for generation in generations}


class Recorder:
    """Notes how many prompts are read in every call, and how many rows take every step; `after` follows a step."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, model: EngineModel, after: Callable[[Any], None] = lambda batch: None
    ) -> None:
        self.prefills: list[int] = []
        self.steps: list[int] = []
        self._after = after
        prefill, start = model._module.prefill, model._batch

        def read(tokens: torch.Tensor, state: DecodeState) -> torch.Tensor:
            self.prefills.append(len(tokens))
            return prefill(tokens, state)

        monkeypatch.setattr(model._module, "prefill", read)
        monkeypatch.setattr(model, "_batch", lambda *sizes, **options: self._watched(start(*sizes, **options)))

    def _watched(self, batch: Any) -> Any:
        advance = batch.advance

        def step() -> torch.Tensor:
            self.steps.append(batch.size)
            tokens: torch.Tensor = advance()
            self._after(batch)
            return tokens

        batch.advance = step
        return batch


# What is generated


def test_greedy_completions_are_those_of_transformers(tiny_checkpoint: Path, model: EngineModel) -> None:
    theirs = transformers.LlamaForCausalLM.from_pretrained(tiny_checkpoint, dtype=torch.float32).eval()
    for request, generation in by_request(model, requests(1), GREEDY).items():
        prompt = torch.tensor([model.tokenizer.encode(model.tokenizer.render(request.prompt))])
        output = theirs.generate(
            prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=24, pad_token_id=EOS
        )
        expected = output[0, prompt.shape[1] :].tolist()
        assert generation.num_tokens == len(expected)
        assert generation.text == model.tokenizer.decode(expected)


@pytest.mark.parametrize("sampling", [SAMPLED, replace(SAMPLED, temperature=0.7, top_p=0.9, top_k=40)], ids=str)
def test_completions_are_the_same_at_batch_1_7_and_64(model: EngineModel, sampling: Sampling) -> None:
    wanted = requests(9)
    reference = by_request(model, wanted, sampling, 1)
    assert by_request(model, wanted, sampling, 7) == reference
    assert by_request(model, wanted, sampling, 64) == reference
    assert len({generation.text for generation in reference.values()}) > 30, "samples must differ"


@pytest.mark.skipif(not (SHIPPED / "model.safetensors").exists(), reason="the shipped model is not there")
def test_the_shipped_model_completes_the_same_at_batch_1_7_and_64() -> None:
    from timetrial_plugins.nutshell.generator import test_problems as nutshell_problems

    model = load(SHIPPED)
    problems = nutshell_problems()
    prompts = [Prompt(problem=p.id, messages=(Message("user", p.text),)) for p in (problems[0], problems[-1])]
    wanted, sampling = requests(12, prompts), Sampling(temperature=0.8, max_tokens=200)
    reference = by_request(model, wanted, sampling, 64)
    assert by_request(model, wanted, sampling, 7) == reference
    some = wanted[::5]
    assert by_request(model, some, sampling, 1) == {request: reference[request] for request in some}


def test_order_and_resume_do_not_change_completions(model: EngineModel) -> None:
    wanted = requests(6)
    reference = by_request(model, wanted, SAMPLED)
    shuffled = sorted(wanted, key=lambda request: hashlib.sha256(repr(request).encode()).digest())
    assert shuffled != wanted and by_request(model, shuffled, SAMPLED, 5) == reference
    resumed = by_request(model, shuffled[:10], SAMPLED, 4) | by_request(model, shuffled[10:], SAMPLED, 4)
    assert resumed == reference


def test_completions_change_with_seed_problem_and_sample_and_nothing_else(model: EngineModel) -> None:
    prompt = PROMPTS[0]
    twin = replace(prompt, problem="another id, same text")
    wanted = [Request(prompt=prompt, sample=0), Request(prompt=prompt, sample=1), Request(prompt=twin, sample=0)]
    first = by_request(model, wanted, SAMPLED)
    other_seed = by_request(model, wanted, replace(SAMPLED, seed=4))
    texts = [generation.text for generation in (*first.values(), *other_seed.values())]
    assert len(set(texts)) == 6
    longer = by_request(model, wanted, replace(SAMPLED, max_tokens=30))
    assert all(longer[request].text.startswith(first[request].text[:8]) for request in wanted)


def test_each_distinct_prompt_is_read_once_and_rows_leave_and_enter(
    model: EngineModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Recorder(monkeypatch, model)
    wanted = requests(10)
    by_request(model, sorted(wanted, key=lambda request: request.sample), replace(SAMPLED, max_tokens=60), 16)
    assert seen.prefills == [1] * len(PROMPTS)
    assert max(seen.steps) == 16 and min(seen.steps) < 8, "finished rows must leave the batch"
    falls = [a for a, b in zip(seen.steps, seen.steps[1:], strict=False) if b < a]
    assert seen.steps.count(16) > 60 and falls, "waiting requests must take the places of finished ones"


def test_no_row_moves_while_completions_wait_for_its_place(model: EngineModel, monkeypatch: pytest.MonkeyPatch) -> None:
    if model._steps is None:
        pytest.skip("rows of the module's own steps stay in the order of their lengths")
    seen, moves = Recorder(monkeypatch, model), []
    drop = DeviceBatch.drop

    def watched(batch: DeviceBatch, rows: Collection[int], **options: Any) -> list[Move]:
        moves.append((len(seen.steps), drop(batch, rows, **options)))
        return moves[-1][1]

    monkeypatch.setattr(DeviceBatch, "drop", watched)
    by_request(model, requests(10), replace(SAMPLED, max_tokens=60), 8)
    last_full = len(seen.steps) - 1 - seen.steps[::-1].index(8)
    while_full = [moved for step, moved in moves if step <= last_full]
    assert while_full and not any(while_full) and any(moved for _, moved in moves)


# How it ends


def test_an_end_of_sequence_token_is_counted_and_leaves_no_text(model: EngineModel, tmp_path: Path) -> None:
    long = replace(SAMPLED, max_tokens=100)
    stopped = [g for g in by_request(model, requests(16), long).values() if g.finish == "stop"]
    assert stopped
    for generation in stopped:
        assert "<|end|>" not in generation.text and generation.num_tokens <= 100
        shorter = by_request(model, [generation.request], replace(long, max_tokens=generation.num_tokens))
        assert shorter[generation.request] == generation, "ending at the limit by itself is a stop"


def test_each_of_several_end_of_sequence_ids_ends_a_completion(
    tiny_checkpoint: Path, tmp_path: Path, model: EngineModel
) -> None:
    folder = copy(tiny_checkpoint, tmp_path)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": list(range(64, 192))}))
    generations = by_request(load(folder), requests(8), SAMPLED)
    assert all(g.finish == "stop" for g in generations.values())
    assert sum(g.num_tokens for g in generations.values()) < 5 * len(generations)
    unlimited = by_request(model, requests(8), SAMPLED)
    assert all(unlimited[request].text.startswith(g.text) for request, g in generations.items())


@pytest.mark.parametrize("max_tokens", [1, 2, 3, 4, 5, 7])
def test_max_tokens_cuts_exactly(model: EngineModel, max_tokens: int) -> None:
    for generation in by_request(model, requests(3), replace(GREEDY, max_tokens=max_tokens)).values():
        assert (generation.finish, generation.num_tokens) == ("length", max_tokens)


def test_the_context_limits_prompt_and_completion_together(make_checkpoint: MakeCheckpoint) -> None:
    model = load(make_checkpoint(context=40))
    for generation in by_request(model, requests(2), replace(GREEDY, max_tokens=2048)).values():
        if generation.finish == "length":
            assert generation.num_prompt_tokens + generation.num_tokens == 40


def test_a_prompt_that_fills_the_context_is_an_error_and_the_others_are_answered(
    make_checkpoint: MakeCheckpoint,
) -> None:
    model = load(make_checkpoint(context=40))
    generations = by_request(model, requests(2), replace(GREEDY, max_tokens=4))
    errors = {request.prompt.problem: g for request, g in generations.items() if g.finish == "error"}
    assert set(errors) == {"p1"} and "no room in the model's context of 40" in str(errors["p1"].error)
    assert (errors["p1"].text, errors["p1"].num_tokens) == ("", 0) and errors["p1"].num_prompt_tokens > 40
    assert sum(g.finish == "length" and g.error is None for g in generations.values()) == 6


def test_a_prompt_the_template_refuses_is_an_error_with_its_reason(make_checkpoint: MakeCheckpoint) -> None:
    model = load(make_checkpoint(chat_template="{{ raise_exception('no user turns') }}"))
    (generation,) = model.generate(requests(1, PROMPTS[:1]), GREEDY, batch_size=1)
    assert generation.finish == "error" and "no user turns" in str(generation.error)


def test_an_empty_prompt_and_a_token_without_an_embedding_are_errors(
    make_checkpoint: MakeCheckpoint, model: EngineModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = load(make_checkpoint(chat_template="{{ '' }}"))
    (generation,) = empty.generate(requests(1, PROMPTS[:1]), GREEDY, batch_size=1)
    assert generation.finish == "error" and "prompt is empty" in str(generation.error)
    monkeypatch.setattr(model._module, "vocab_size", 200)
    (generation,) = model.generate(requests(1, PROMPTS[:1]), GREEDY, batch_size=1)
    assert generation.finish == "error" and "the model knows 200 tokens" in str(generation.error)


def test_logits_that_are_not_numbers_fail_their_row_only(model: EngineModel, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = requests(3)
    reference = by_request(model, wanted, GREEDY)

    def spoil_row_2_once(batch: Any) -> None:
        if len(seen.steps) == 6:
            is_own = isinstance(batch, DecodeBatch)
            logits, buffers = (
                (batch._logits, batch._state.buffers) if is_own else (batch._step.logits, batch._memory._buffers)
            )
            with torch.inference_mode():
                logits[2] = torch.nan
                for buffer in buffers.values():
                    buffer[:, 2] = torch.nan

    seen = Recorder(monkeypatch, model, spoil_row_2_once)
    generations = by_request(model, wanted, GREEDY, batch_size=4)
    failed = generations.pop(wanted[2])
    assert (failed.finish, failed.num_tokens) == ("error", 6) and "not finite" in str(failed.error)
    assert generations == {request: reference[request] for request in generations}


def test_stop_strings_end_a_completion_wherever_it_is_looked_at(
    model: EngineModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = requests(6)
    reference = by_request(model, wanted, SAMPLED)
    stop = (reference[wanted[0]].text[5:8], reference[wanted[1]].text[2:4])
    expected = {
        request: min((g.text.find(s) for s in stop if s in g.text), default=-1) for request, g in reference.items()
    }
    assert sum(start >= 0 for start in expected.values()) >= 2
    for steps_per_look in (1, 4, 32):
        monkeypatch.setitem(timetrial_plugins.engine.model._STEPS_PER_LOOK, "cpu", steps_per_look)
        for request, generation in by_request(model, wanted, replace(SAMPLED, stop=stop), 5).items():
            start = expected[request]
            if start < 0:
                assert generation == reference[request]
            else:
                assert generation.finish == "stop" and generation.text == reference[request].text[:start]
                assert generation.num_tokens <= reference[request].num_tokens


# What is said about it


def test_the_digest_is_that_of_the_rendered_prompt(model: EngineModel) -> None:
    for request, generation in by_request(model, requests(1), GREEDY).items():
        rendered = model.tokenizer.render(request.prompt)
        assert generation.prompt_digest == hashlib.sha256(rendered.encode()).hexdigest()
        assert generation.num_prompt_tokens == len(model.tokenizer.encode(rendered))


def test_what_cannot_be_asked_for_is_refused_before_anything_runs(model: EngineModel) -> None:
    with pytest.raises(UsageError, match="batch size is 0"):
        model.generate(requests(1), GREEDY, batch_size=0)
    with pytest.raises(UsageError, match="top_k is 0"):
        model.generate(requests(1), replace(GREEDY, top_k=0), batch_size=1)


def test_no_requests_give_no_generations(model: EngineModel) -> None:
    assert list(model.generate([], SAMPLED, batch_size=4)) == []


def test_the_description_is_json_and_carries_the_digest(model: EngineModel) -> None:
    description = json.loads(json.dumps(model.description))
    assert description["family"] == "llama" and description["device"] == "cpu"
    assert description["parameters"] == 258 * 48 + 2 * (2 * 48 * 48 + 2 * 48 * 16 + 3 * 48 * 64) + 5 * 48
    assert len(description["checkpoint_digest"]) == 64 and description["eos_ids"] == [EOS]


def test_costs_are_weights_plus_the_context_of_every_sequence(model: EngineModel) -> None:
    footprint = model._module.footprint
    cost = model.costs(3, 100)
    assert footprint.kv_bytes_per_token == 2 * 2 * 2 * 8 * 4  # keys and values, layers, heads, channels, bytes
    assert cost.bytes_moved == footprint.weight_bytes + 3 * 100 * footprint.kv_bytes_per_token
    assert cost.flops == 2 * 3 * footprint.linear_parameters
    assert footprint.linear_parameters == 258 * 48 + 2 * (2 * 48 * 48 + 2 * 48 * 16 + 3 * 48 * 64)


# Time and memory


def test_timing_reads_the_prompt_once_and_takes_every_step(model: EngineModel, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Recorder(monkeypatch, model)
    clock = FakeClock(step_s=10.0)
    times = model.decode_timing(5, 11, 7, clock=clock, seed=-1)
    assert (seen.prefills, seen.steps) == ([1], [5] * 7)
    assert (times.prefill_s, times.decode_s) == (10.0, 10.0)
    assert times.peak_bytes is None or times.peak_bytes > 10_000_000


def test_timing_may_go_past_the_context_the_model_was_made_for(model: EngineModel) -> None:
    assert model.decode_timing(1, 120, 20, clock=FakeClock(step_s=1.0), seed=0).decode_s == 1.0


@pytest.fixture(params=[
    torch.OutOfMemoryError("CUDA out of memory"),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried ..."),
], ids=["accelerator", "python", "cpu allocator"])  # fmt: skip
def full_memory(request: pytest.FixtureRequest, model: EngineModel, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def fail(rows: int, capacity: int) -> DecodeState:
        raise request.param

    monkeypatch.setattr(model._module, "init_state", fail)
    yield


@pytest.mark.usefixtures("full_memory")
def test_every_way_of_running_out_of_memory_is_one(model: EngineModel) -> None:
    with pytest.raises(OutOfMemory):
        model.decode_timing(4, 8, 8, clock=FakeClock(step_s=1.0), seed=0)
    with pytest.raises(UsageError, match="batch of 12 .* smaller batch size, for example 6"):
        list(model.generate(requests(3), GREEDY, batch_size=64))


def test_an_allocation_no_machine_can_make_is_out_of_memory(model: EngineModel) -> None:
    with pytest.raises(OutOfMemory):
        model.decode_timing(2**40, 8, 8, clock=FakeClock(step_s=1.0), seed=0)


def test_other_failures_are_not_mistaken_for_full_memory(model: EngineModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(rows: int, capacity: int) -> DecodeState:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(model._module, "init_state", fail)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        model.decode_timing(4, 8, 8, clock=FakeClock(step_s=1.0), seed=0)
