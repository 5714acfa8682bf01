"""The run folder: torn lines, locks, full disks, offsets."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from timetrial.error import DataError, RunError, RunLockedError
from timetrial.record import Completion, Grade, Problem
from timetrial.store import RunFolder, problems_file, write_problems


def completion(sample: int, text: str = "The answer is 4.") -> Completion:
    return Completion(
        model="m",
        task="t",
        temperature=0.8,
        problem="p",
        sample=sample,
        text=text,
        finish="stop",
        num_prompt_tokens=3,
        num_tokens=5,
        prompt_digest="",
    )


def filled(path: Path, number: int) -> RunFolder:
    folder = RunFolder(path)
    with folder.locked(), folder.appending(Completion) as file:
        file.append(completion(sample) for sample in range(number))
    return folder


def test_records_come_back_as_they_were_written(tmp_path):
    folder = RunFolder(tmp_path)
    texts = ["plain", "two\nlines", "\u2028 \u0085 separators", "emoji \U0001f600", 'quote " and \\ backslash']
    written = [completion(number, text) for number, text in enumerate(texts)]
    with folder.locked(), folder.appending(Completion) as file:
        file.append(written)
    assert list(folder.read(Completion)) == written


def test_any_name_of_a_task_makes_one_file_and_no_two_the_same():
    names = ["nutshell", "lm-eval:gsm8k", "lm-eval-gsm8k", "lm-eval:a/b:fewshot=0", "lm-eval:a%2Fb"]
    files = [problems_file(name) for name in names]
    assert len(set(files)) == len(names) and not any(set(file) & set('/\\:*?"<>|') for file in files)
    assert problems_file("math-500") == "problems-math-500.jsonl"


def test_every_record_is_on_disk_when_append_returns(tmp_path):
    folder = RunFolder(tmp_path)
    with folder.locked(), folder.appending(Completion) as file:
        for number in range(3):
            file.append([completion(number)])
            assert len(list(folder.read(Completion))) == number + 1


@pytest.mark.parametrize("kept", range(1, 12))
def test_a_torn_last_line_is_skipped_by_readers_and_cut_off_by_writers(tmp_path, kept):
    folder = filled(tmp_path, 2)
    path = tmp_path / "samples.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:kept])
    assert len(list(folder.read(Completion))) == 2
    with folder.locked():
        assert path.read_bytes() == whole


def test_a_torn_line_longer_than_the_search_window_is_cut_off(tmp_path):
    folder = filled(tmp_path, 1)
    path = tmp_path / "samples.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"text": "' + b"x" * 200_000)
    with folder.locked():
        assert path.read_bytes() == whole


def test_a_file_that_is_one_torn_line_becomes_empty(tmp_path):
    path = tmp_path / "samples.jsonl"
    path.write_bytes(b'{"model"')
    with RunFolder(tmp_path).locked():
        assert path.read_bytes() == b""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"model": ', "line 2"),
        ("[1, 2]", "line 2"),
        ('{"model": "m"}', "missing"),
        ("", "line 2"),
    ],
)
def test_a_bad_line_in_the_middle_is_refused_with_its_number(tmp_path, line, said):
    folder = filled(tmp_path, 1)
    path = tmp_path / "samples.jsonl"
    good = path.read_text()
    path.write_text(good + line + "\n" + good)
    with pytest.raises(DataError, match=said) as caught:
        list(folder.read(Completion))
    assert caught.value.line == 2


def test_an_unknown_field_is_named(tmp_path):
    folder = filled(tmp_path, 1)
    path = tmp_path / "samples.jsonl"
    data = json.loads(path.read_text()) | {"colour": "red"}
    path.write_text(json.dumps(data) + "\n")
    with pytest.raises(DataError, match="unknown colour"):
        list(folder.read(Completion))


def test_a_second_writer_is_refused_and_the_first_goes_on(tmp_path):
    script = (
        "import sys; from pathlib import Path; from timetrial.store import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).locked(): pass"
    )
    with RunFolder(tmp_path).locked():
        with pytest.raises(RunLockedError, match="another timetrial process"), RunFolder(tmp_path).locked():
            pass
        second = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True)
        assert second.returncode != 0
        assert "RunLockedError" in second.stderr
    with RunFolder(tmp_path).locked():
        pass


def test_a_full_disk_keeps_what_was_written_and_says_so(tmp_path, monkeypatch):
    folder = filled(tmp_path, 2)
    with folder.locked(), folder.appending(Completion) as file:

        def full(data: bytes) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(
            file, "_file", type("Full", (), {"write": staticmethod(full), "flush": lambda self: None})()
        )
        with pytest.raises(RunError, match="No space left on device.*kept"):
            file.append([completion(2)])
    assert len(list(folder.read(Completion))) == 2


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write"), RunFolder(tmp_path / "file" / "run").locked():
        pass


def test_records_can_be_read_again_by_offset_in_any_order(tmp_path):
    folder = filled(tmp_path, 5)
    offsets = {record.sample: offset for offset, record in folder.offsets(Completion)}
    again = folder.read_at(Completion, [offsets[3], offsets[0], offsets[4]])
    assert [record.sample for record in again] == [3, 0, 4]


def test_json_is_replaced_whole_and_bad_json_is_named(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.read_json("config.json") is None
    folder.write_json("config.json", {"a": 1})
    folder.write_json("config.json", {"a": 2})
    assert folder.read_json("config.json") == {"a": 2}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json"]
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(DataError, match="not valid JSON"):
        folder.read_json("config.json")


def test_problems_are_stored_a_line_each(tmp_path):
    write_problems(tmp_path / "problems.jsonl", [Problem(id="a", text="1 + 1?", gold="2", level=1)])
    assert json.loads((tmp_path / "problems.jsonl").read_text())["gold"] == "2"


def test_a_replaced_file_is_the_old_one_until_the_new_one_is_whole(tmp_path):
    folder = filled(tmp_path, 3)
    with folder.replacing(Completion) as file:
        file.append([completion(7)])
        assert [record.sample for record in folder.read(Completion)] == [0, 1, 2]
    assert [record.sample for record in folder.read(Completion)] == [7]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "samples.jsonl"]


def test_a_replacement_that_breaks_off_changes_nothing(tmp_path):
    folder = filled(tmp_path, 3)
    with pytest.raises(KeyboardInterrupt), folder.replacing(Completion) as file:
        file.append([completion(7)])
        raise KeyboardInterrupt
    assert [record.sample for record in folder.read(Completion)] == [0, 1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "samples.jsonl"]


def test_what_a_killed_replacement_left_behind_is_not_read_and_is_written_over(tmp_path):
    folder = filled(tmp_path, 3)
    (tmp_path / "samples.jsonl.new").write_bytes(b'{"half a line')
    assert folder.count(Completion) == 3
    with folder.replacing(Completion) as file:
        file.append([completion(7)])
    assert [record.sample for record in folder.read(Completion)] == [7]


def test_lines_are_counted_without_the_torn_one(tmp_path):
    folder = filled(tmp_path, 3)
    assert folder.count(Completion) == 3
    assert folder.count(Grade) == 0
    with (tmp_path / "samples.jsonl").open("ab") as file:
        file.write(b'{"torn')
    assert folder.count(Completion) == 3


def test_lines_of_another_version_can_be_read_loosely(tmp_path):
    (tmp_path / "grades.jsonl").write_bytes(b'{"old": 1}\nnot JSON\n[2]\n\xff\n{"older": null}\n{"torn')
    folder = RunFolder(tmp_path)
    assert list(folder.read_loosely(Grade)) == [{"old": 1}, {"older": None}]
    assert list(folder.read_loosely(Completion)) == []


def test_a_bad_line_of_grades_names_its_cure_and_one_of_samples_does_not(tmp_path):
    for name in ("grades.jsonl", "samples.jsonl"):
        (tmp_path / name).write_text('{"model": "m"}\n')
    with pytest.raises(DataError, match=rf"grades.jsonl, line 1: not a Grade: missing .*`timetrial grade {tmp_path}`"):
        list(RunFolder(tmp_path).read(Grade))
    with pytest.raises(DataError) as caught:
        list(RunFolder(tmp_path).read(Completion))
    assert "timetrial grade" not in str(caught.value)
