"""Questions in lm-eval's built-in formats over data made here, and tasks that ask them."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval", reason="the extra lm-eval is not installed")

from timetrial.spec import LoadOptions
from timetrial_plugins.engine.model import EngineModel
from timetrial_plugins.models.plugin import timetrial_models

CPU = LoadOptions(device="cpu", dtype="float32")
SPECS = {spec.family: spec for spec in timetrial_models()}
LLAMBA = {
    **{"model_type": "llamba", "vocab_size": 258, "d_model": 32, "n_layer": 2, "tie_embeddings": True},
    "mlp_cfg": {"intermediate_size": 48, "bias": False, "act_fn": "silu"},
    "ssm_cfg": {"d_state": 8, "n_v_heads": 4, "n_qk_heads": 4, "expand": 1, "activation": "identity", "bias": False},
}
HYBRID = {
    **{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 258, "hidden_size": 96},
    **{"intermediate_size": 80, "num_hidden_layers": 3, "num_attention_heads": 6, "num_key_value_heads": 2},
    **{"head_dim": 16, "max_position_embeddings": 512, "tie_word_embeddings": True, "hidden_act": "silu"},
}
MAMBA1 = {
    **{"d_model": 96, "ssm_cfg": {"expand": 1}, "rms_norm_eps": 1e-5, "d_xb": 32, "intermediate_size": 80},
    **{"hidden_act": "silu", "n_layer": 3, "attn_layers": [1]},
}
MAMBA2 = MAMBA1 | {"ssm_cfg": {"expand": 1, "ngroups": 6, "d_state": 16}, "d_inner": 96}
CONFIGS = {
    "llamba": ("llamba", LLAMBA),
    "mamba1": ("mamba_in_llama", HYBRID | {"mamba_config": MAMBA1}),
    "mamba2": ("mamba_in_llama", HYBRID | {"mamba_config": MAMBA2}),
}

WORDS = "apple river stone cloud green water house light seven dog music paper table north winter bread".split()
Rows = list[dict[str, Any]]


def sentence(draw: random.Random, least: int, most: int) -> str:
    return " ".join(draw.choice(WORDS) for _ in range(draw.randint(least, most)))


def arc_rows(count: int, seed: int) -> Rows:
    draw = random.Random(seed)
    return [
        {
            "id": str(number),
            "question": f"{sentence(draw, 3, 9)}?",
            "choices": {"text": [sentence(draw, 1, 4) for _ in range(4)], "label": list("ABCD")},
            "answerKey": draw.choice("ABCD"),
        }
        for number in range(count)
    ]


def mmlu_rows(count: int, seed: int) -> Rows:
    draw = random.Random(seed)
    return [
        {
            "question": f"{sentence(draw, 3, 9)}?",
            "subject": "anatomy",
            "choices": [sentence(draw, 1, 3) for _ in range(4)],
            "answer": draw.randrange(4),
        }
        for _ in range(count)
    ]


def text_rows(count: int, seed: int) -> Rows:
    draw = random.Random(seed)
    return [{"text": sentence(draw, 10, 60), "answer": sentence(draw, 1, 1)} for _ in range(count)]


def write_rows(path: Path, rows: Rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the data sets of ARC and MMLU in small, laid out as --data-dir takes it."""
    folder = tmp_path_factory.mktemp("data")
    for split, count in (("train", 6), ("validation", 4), ("test", 12)):
        write_rows(folder / f"allenai/ai2_arc/ARC-Challenge/{split}.jsonl", arc_rows(count, count))
    for subject in ("anatomy", "virology"):
        for split, count in (("dev", 5), ("validation", 4), ("test", 10)):
            write_rows(folder / f"cais/mmlu/{subject}/{split}.jsonl", mmlu_rows(count, count + len(subject)))
    write_rows(folder / "local/texts/test.jsonl", text_rows(8, 3))
    return folder


@pytest.fixture(scope="session")
def task_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of definitions: the built-in prompts by `include`, a group, a generation and a rolling task."""
    import lm_eval.tasks

    built_in = Path(lm_eval.tasks.__file__).parent
    folder = tmp_path_factory.mktemp("tasks")
    files = {
        "arc": f"include: {built_in}/arc/arc_challenge.yaml\ntask: tiny_arc\ntag: null\n",
        "mmlu": f"include: {built_in}/mmlu/default/mmlu_anatomy.yaml\ntask: tiny_mmlu\ntag: null\n",
        "virology": f"include: {built_in}/mmlu/default/mmlu_virology.yaml\ntask: tiny_virology\ntag: null\n",
        "group": "group: tiny_group\ntask: [tiny_mmlu, tiny_virology]\n"
        "aggregate_metric_list: [{metric: acc, weight_by_size: true}]\nmetadata: {version: 3}\n",
        "rolling": "task: tiny_rolling\ndataset_path: local/texts\ntest_split: test\n"
        "output_type: loglikelihood_rolling\n"
        'doc_to_text: ""\ndoc_to_target: "{{text}}"\nmetric_list:\n'
        + "".join(f"  - metric: {name}\n" for name in ("word_perplexity", "byte_perplexity", "bits_per_byte"))
        + "metadata: {version: 1}\n",
        "writing": "task: tiny_writing\ndataset_path: local/texts\ntest_split: test\noutput_type: generate_until\n"
        'doc_to_text: "{{text}}"\ndoc_to_target: "{{answer}}"\n'
        'generation_kwargs: {until: ["e"], do_sample: false, max_gen_toks: 12}\n'
        "metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]\nmetadata: {version: 1}\n",
    }
    files["beams"] = (
        files["writing"].replace("tiny_writing", "tiny_beams").replace("do_sample", "num_beams: 4, do_sample")
    )
    files["broken"] = (
        files["writing"].replace("tiny_writing", "tiny_broken") + "process_results: !function broken.fail\n"
    )
    (folder / "broken.py").write_text('def fail(document, results):\n    raise ZeroDivisionError("no such luck")\n')
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


@pytest.fixture(scope="session")
def long_checkpoint(make_checkpoint: Callable[..., Path]) -> Path:
    """Return a random Llama with room for few-shot prompts in bytes; do not write into it."""
    return make_checkpoint(context=2048)


@pytest.fixture(scope="session")
def kinds(tiny_checkpoint: Path) -> Callable[[str], EngineModel]:
    """Return a function that gives a model of each kind: attention only, recurrence only, and both hybrids."""

    @functools.cache
    def make(kind: str) -> EngineModel:
        if kind == "llama":
            model = SPECS["llama"].load(tiny_checkpoint, CPU)
        else:
            family, config = CONFIGS[kind]
            build = SPECS[family].build_random
            assert build is not None
            model = build(config, CPU)
        assert isinstance(model, EngineModel)
        return model

    return make
