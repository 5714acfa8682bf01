"""lm-eval's own `hf` model and timetrial's, on one checkpoint in float32: the same likelihoods, metrics and texts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from timetrial.catalog import open_catalog
from timetrial.progress import silent
from timetrial_plugins.general.config import GeneralConfig
from timetrial_plugins.general.model import TimetrialLM
from timetrial_plugins.general.tasks import load_tasks

# Found, not imported: that takes seconds, and these tests are collected wherever others run.
missing = [name for name in ("accelerate", "peft") if find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(missing), reason=f"lm-eval's hf model needs {' and '.join(missing)}")

Outcome = dict[str, Any]


@pytest.fixture(scope="module")
def hf(long_checkpoint: Path) -> Any:
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=str(long_checkpoint), device="cpu", dtype="float32", batch_size=5)


@pytest.fixture(scope="module")
def ours(long_checkpoint: Path) -> TimetrialLM:
    return quiet(TimetrialLM(str(long_checkpoint), device="cpu", dtype="float32", batch_size=5))


def quiet(lm: TimetrialLM) -> TimetrialLM:
    lm.progress = silent
    return lm


@pytest.fixture(scope="module")
def evaluated(data_dir: Path, task_dir: Path) -> Callable[..., Outcome]:
    """Return a function that evaluates a task on a model as lm-eval does."""
    from lm_eval.evaluator import evaluate

    def run(lm: Any, task: str, *, chat: bool = False, **changes: Any) -> Outcome:
        config = GeneralConfig(include_paths=(str(task_dir),), data_dir=str(data_dir), **changes)
        tasks = dict(load_tasks([task], config, open_catalog()).tasks)
        outcome: Outcome = evaluate(lm, {"tasks": tasks, "groups": {}}, bootstrap_iters=0, apply_chat_template=chat)
        return outcome

    return run


def likelihoods(outcome: Outcome, task: str) -> Iterator[tuple[float, bool]]:
    for sample in outcome["samples"][task]:
        for responses in sample["resps"]:
            yield responses[0]


@pytest.mark.parametrize("shots", [0, 2])
@pytest.mark.parametrize("task", ["tiny_arc", "tiny_mmlu"])
def test_every_likelihood_and_every_metric_equals_that_of_hf(evaluated, hf, ours, task, shots):
    theirs, own = (evaluated(lm, task, num_fewshot=shots) for lm in (hf, ours))
    assert own["n-shot"] == {task: shots}
    pairs = list(zip(likelihoods(theirs, task), likelihoods(own, task), strict=True))
    assert len(pairs) >= 40
    for (expected, expected_greedy), (found, is_greedy) in pairs:
        assert found == pytest.approx(expected, abs=1e-4) and is_greedy == expected_greedy
    assert own["results"] == theirs["results"]


def test_contexts_that_are_too_long_lose_the_same_beginning_as_with_hf(evaluated, long_checkpoint):
    from lm_eval.models.huggingface import HFLM

    options = {"device": "cpu", "dtype": "float32", "batch_size": 4, "max_length": 60}
    hf = HFLM(pretrained=str(long_checkpoint), **options)
    ours = quiet(TimetrialLM(str(long_checkpoint), **options))
    theirs, own = (evaluated(lm, "tiny_arc", num_fewshot=1) for lm in (hf, ours))
    assert ours.num_cut > 0
    for (expected, _), (found, _) in zip(likelihoods(theirs, "tiny_arc"), likelihoods(own, "tiny_arc"), strict=True):
        assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("max_length", [None, 50])
def test_rolling_likelihoods_equal_those_of_hf_also_in_several_windows(evaluated, long_checkpoint, max_length):
    from lm_eval.models.huggingface import HFLM

    options = {"device": "cpu", "dtype": "float32", "batch_size": 4, "max_length": max_length}
    hf = HFLM(pretrained=str(long_checkpoint), **options)
    ours = quiet(TimetrialLM(str(long_checkpoint), **options))
    theirs, own = (evaluated(lm, "tiny_rolling")["results"]["tiny_rolling"] for lm in (hf, ours))
    for metric in ("word_perplexity,none", "byte_perplexity,none", "bits_per_byte,none"):
        assert math.log(own[metric]) == pytest.approx(math.log(theirs[metric]), rel=1e-5)


@pytest.mark.parametrize("chat", [False, True], ids=["plain", "chat"])
def test_greedy_generation_equals_that_of_hf(evaluated, hf, ours, chat):
    theirs, own = (evaluated(lm, "tiny_writing", chat=chat) for lm in (hf, ours))
    texts = [[sample["resps"] for sample in outcome["samples"]["tiny_writing"]] for outcome in (theirs, own)]
    assert texts[0] == texts[1] and len({str(text) for text in texts[0]}) > 1
    assert own["results"] == theirs["results"]


def test_prompts_in_the_chat_format_equal_those_of_hf(hf, ours):
    history = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 3?"}]
    assert ours.apply_chat_template(history) == hf.apply_chat_template(history)
    started = [*history, {"role": "assistant", "content": "The sum"}]
    assert ours.apply_chat_template(started, add_generation_prompt=False) == hf.apply_chat_template(
        started, add_generation_prompt=False
    )
    assert ours.chat_template(True) == hf.chat_template(True)
    assert ours.eot_token_id == hf.eot_token_id and ours.prefix_token_id == hf.prefix_token_id


@pytest.mark.parametrize("text", ["Two words", "<|begin|>Two words", "", " lead", "trail "])
def test_texts_are_encoded_as_by_hf(hf, ours, text):
    assert ours.tok_encode(text) == hf.tok_encode(text)
    assert ours.tok_encode(text, add_special_tokens=False) == hf.tok_encode(text, add_special_tokens=False)
