"""Tasks of lm-eval that are made here, over local rows: nothing is fetched."""

import json

import pytest

pytest.importorskip("lm_eval", reason="the extra lm-eval is not installed")

TRAIN = [{"q": f"What is {n} + {n}?", "a": str(2 * n), "hint": "It is"} for n in range(1, 9)]
TEST = [{"q": f"What is {n} + 1?", "a": str(n + 1), "hint": f"For {n} it is"} for n in range(20, 26)]

SUMS = """
task: sums
tag: easy
custom_dataset: !function rows.dataset
output_type: generate_until
training_split: train
fewshot_split: train
test_split: test
num_fewshot: 2
description: "Add.\\n\\n"
doc_to_text: "Q: {{q}}\\nA:"
doc_to_target: "{{a}}"
generation_kwargs: {until: ["Q:", ""], max_gen_toks: 17}
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
    ignore_case: true
    regexes_to_ignore: [",", "\\\\.$"]
filter_list:
  - {name: strict, filter: [{function: regex, regex_pattern: "is (\\\\d[\\\\d,.]*)"}, {function: take_first}]}
  - name: last
    filter: [{function: regex, regex_pattern: "\\\\d+", group_select: -1}, {function: take_first}]
  - {name: vote, filter: [{function: majority_vote}, {function: take_first}]}
metadata: {version: 2}
"""
OTHERS = {
    "both": "group: both\ntag: easy_ones\ntask: [sums, hinted]\n",
    "hinted": 'include: sums.yaml\ntask: hinted\ngen_prefix: "{{hint}}"\n',
    "several": "include: sums.yaml\ntask: several\ndoc_to_target: \"{{[a, 'many']}}\"\nfilter_list: null\n",
    "choosing": "include: sums.yaml\ntask: choosing\noutput_type: multiple_choice\ndoc_to_choice: [a, b]\n",
    "own_code": "include: sums.yaml\ntask: own_code\nprocess_results: !function rows.process_results\n",
    "translated": "include: sums.yaml\ntask: translated\nmetric_list: [{metric: bleu}, {metric: ter}]\n",
}
CODE = f"""
import datasets

TRAIN, TEST = {json.dumps(TRAIN)}, {json.dumps(TEST)}


def dataset(**_):
    return datasets.DatasetDict(train=datasets.Dataset.from_list(TRAIN), test=datasets.Dataset.from_list(TEST))


def process_results(doc, results):
    return {{"exact_match": float(doc["a"] in results[0])}}
"""


@pytest.fixture(scope="session")
def tasks_folder(tmp_path_factory):
    """A folder with definitions of lm-eval tasks."""
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "sums.yaml").write_text(SUMS)
    (folder / "rows.py").write_text(CODE)
    for name, text in OTHERS.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder
