import pytest

from timetrial.error import DataError, UnknownNameError, UsageError
from timetrial_distillation.data.adapters import UnfitError
from timetrial_distillation.rewards.data import open_labels
from timetrial_distillation.rewards.layouts import find_layout

TAG = "\u043a\u0438"
CONVERSATION = {
    "conversations": [
        {"role": "user", "content": "What is 1 + 2 + 3? Step 1: 1 + 2 = 3"},
        {"role": "assistant", "content": "+"},
        {"role": "user", "content": "Step 2: 3 + 3 = 7"},
        {"role": "assistant", "content": "-"},
    ]
}
SHEPHERD = {
    "input": f"What is 1 + 2 + 3? Step 1: 1 + 2 = 3 {TAG}\nStep 2: 3 + 3 = 7 {TAG}",
    "label": "What is 1 + 2 + 3? Step 1: 1 + 2 = 3 +\nStep 2: 3 + 3 = 7 -",
}
STEPWISE = {
    "prompt": "What is 1 + 2 + 3?",
    "completions": ["Step 1: 1 + 2 = 3", "Step 2: 3 + 3 = 7"],
    "labels": [True, False],
}
PROCESSBENCH = {
    "problem": "What is 1 + 2 + 3?",
    "steps": ["Step 1: 1 + 2 = 3", "Step 2: 3 + 3 = 7"],
    "label": 1,
    "final_answer_correct": False,
}


@pytest.mark.parametrize("record", [CONVERSATION, SHEPHERD, STEPWISE, PROCESSBENCH])
def test_every_published_layout_gives_the_same_solution(record):
    found = find_layout("auto", list(record)).read(record)
    assert found.problem == "What is 1 + 2 + 3?"
    assert found.steps == ("Step 1: 1 + 2 = 3", "Step 2: 3 + 3 = 7")
    assert (found.right, found.rollouts) == ((1, 0), (1, 1))


def test_only_the_number_of_the_first_error_is_known_to_be_true():
    found = find_layout("auto", list(PROCESSBENCH)).read({**PROCESSBENCH, "label": 0})
    assert found.truth == (False, False)
    assert find_layout("auto", list(PROCESSBENCH)).read({**PROCESSBENCH, "label": -1}).truth == (True, True)
    assert find_layout("auto", list(STEPWISE)).read(STEPWISE).truth is None


def test_a_first_turn_without_a_mark_is_divided_where_its_text_stays_the_same():
    turns = [{"from": "human", "value": "Add 1 and 2. 1 + 2 = 3."}, {"from": "gpt", "value": "+"}]
    found = find_layout("auto", ["conversations"]).read({"conversations": turns})
    assert f"{found.problem} {found.steps[0]}" == "Add 1 and 2. 1 + 2 = 3."


@pytest.mark.parametrize(
    "record",
    [
        {"conversations": []},
        {"conversations": CONVERSATION["conversations"][:3]},
        {"conversations": [{"value": "A b"}, {"value": "maybe"}]},
        {"conversations": [{"value": "word"}, {"value": "+"}]},
        {**SHEPHERD, "label": SHEPHERD["label"].replace("3 +", "4 +")},
        {**SHEPHERD, "input": SHEPHERD["input"] + " and more"},
        {**SHEPHERD, "label": SHEPHERD["label"].replace("7 -", "7 ?")},
        {**STEPWISE, "labels": "yes"},
        {**PROCESSBENCH, "label": 2},
        {**PROCESSBENCH, "problem": None},
    ],
)
def test_malformed_records_say_so(record):
    with pytest.raises(UnfitError, match="^malformed: "):
        find_layout("auto", list(record)).read(record)


def test_unknown_layouts_and_columns_are_refused_with_what_there_is():
    with pytest.raises(UnknownNameError, match="did you mean 'stepwise'"):
        find_layout("stepwize", ["prompt"])
    with pytest.raises(UsageError, match="has the columns foo, bar"):
        find_layout("auto", ["foo", "bar"])
    with pytest.raises(UsageError, match="expected those of labelled steps .stepwise: prompt, completions, labels."):
        find_layout("stepwise", ["prompt", "labels"])


def test_files_are_read_up_to_the_limit_and_unfit_records_are_counted(tmp_path, write_lines):
    path = write_lines(tmp_path / "prm.jsonl", [STEPWISE, {**STEPWISE, "labels": None}, STEPWISE, STEPWISE])
    data = open_labels([str(path)])
    assert (len(data.solutions), data.left_out) == (3, {"malformed": 1})
    some = open_labels([str(path)], limit=2)
    assert some.solutions == data.solutions[:2]
    assert some.digest != data.digest


def test_lengths_that_differ_make_a_record_unfit_in_a_data_set_and_an_error_in_our_own(tmp_path, write_lines, solution):
    path = write_lines(tmp_path / "prm.jsonl", [STEPWISE, {**STEPWISE, "labels": [True]}])
    assert open_labels([str(path)]).left_out == {"malformed": 1}
    own = write_lines(tmp_path / "own.jsonl", [{**solution([1]).to_json(), "right": [2, 3]}])
    with pytest.raises(DataError, match="own.jsonl, line 1: no labelled solution"):
        open_labels([str(own)])


def test_a_source_without_a_labelled_solution_is_refused(tmp_path, write_lines):
    path = write_lines(tmp_path / "prm.jsonl", [{**STEPWISE, "labels": [True]}])
    with pytest.raises(UsageError, match="no labelled solution in .* .1 malformed."):
        open_labels([str(path)])


def test_a_folder_that_is_not_finished_is_refused(tmp_path):
    with pytest.raises(DataError, match="expected a finished folder of `timetrial distill label-steps`"):
        open_labels([str(tmp_path)])


def test_data_sets_on_the_hub_are_named_with_their_split(monkeypatch, tmp_path, write_lines):
    from timetrial_distillation.data.files import open_files
    from timetrial_distillation.rewards import data

    path, asked = write_lines(tmp_path / "prm.jsonl", [PROCESSBENCH]), []

    def open_dataset(*named):
        asked.append(named)
        return open_files([str(path)])

    monkeypatch.setattr(data, "open_dataset", open_dataset)
    assert open_labels(["Qwen/ProcessBench:gsm8k", "org/name"]).solutions[0].truth == (True, False)
    assert asked == [("Qwen/ProcessBench", None, "gsm8k", None), ("org/name", None, "train", None)]
