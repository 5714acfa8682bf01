"""Whatever a user gets wrong ends in one paragraph and an exit code, never in a traceback."""

import json

import pytest

from timetrial.cli.main import run_command_line

RUN = ("run", "--quiet", "--no-time", "--samples", "2")
MODEL = ("--model", "nutshell-llama", "--temperature", "0.8")


@pytest.fixture
def fails(capsys, tmp_path, monkeypatch):
    """Run a command that must fail; return what it said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIMETRIAL_DATA", raising=False)

    def run(code: int, *arguments: object) -> str:
        assert run_command_line([str(argument) for argument in arguments]) == code
        said = capsys.readouterr().err
        assert "Traceback" not in said and said.strip()
        return said

    return run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("leaderbord",), "did you mean 'leaderboard'?"),
        (("run", "--modle", "x"), "--model"),
        ((*RUN, "--model", "nutshel-llama", "--task", "nutshell"), "did you mean 'nutshell-llama'?"),
        ((*RUN, *MODEL, "--task", "nutshel"), "did you mean 'nutshell'?"),
        ((*RUN, *MODEL, "--task", "nutshell", "--aggregator", "majorty"), "did you mean 'majority'?"),
        ((*RUN, *MODEL, "--task", "nutshell", "--reward-model", "likelyhood:x"), "did you mean 'likelihood'?"),
        ((*RUN, *MODEL, "--task", "nutshell", "--grader", "no-such-grader"), "unknown grader 'no-such-grader'"),
        ((*RUN, *MODEL, "--task", "nutshell", "--second-opinion", "no-such-one"), "unknown grader 'no-such-one'"),
        ((*RUN, *MODEL, "--task", "nutshell", "--reduction", "first"), "known: last, mean, min, prod"),
        ((*RUN, *MODEL, "--task", "nutshell", "--preset", "paper-1c"), "did you mean 'paper-1b'?"),
        ((*RUN, *MODEL, "--task", "nutshell", "--device", "cudda"), "cuda"),
        ((*RUN, *MODEL, "--task", "nutshell", "--dtype", "float23"), "did you mean 'float32'?"),
        ((*RUN, *MODEL, "--task", "nutshell", "--temperature", "-1"), "temperature is -1.0"),
        ((*RUN, *MODEL, "--task", "nutshell", "--temperature", "0.8,,1"), "empty item"),
        ((*RUN, *MODEL, "--task", "nutshell", "--limit", "1000"), "has only 200 problems"),
        ((*RUN, *MODEL, "--task", "nutshell", "--samples", "0"), "samples is 0"),
        ((*RUN, *MODEL, "--task", "nutshell", "--data", "other=x.jsonl"), "other=x.jsonl"),
        ((*RUN, *MODEL, "--task", "nutshell,nutshell"), "given 2 times"),
        (("leaderboard", "nowhere", "--budget", "-1"), ""),
    ],
)
def test_a_wrong_value_is_named_with_the_closest_right_one(fails, arguments, said):
    assert said in fails(5 if arguments[0] == "leaderboard" else 2, *arguments)


def test_a_folder_that_is_no_checkpoint_says_what_was_found(fails, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("hello")
    said = fails(4, *RUN, "--model", tmp_path / "folder", "--task", "nutshell")
    assert "notes.txt" in said and "config.json" in said


def test_a_hub_id_without_internet_says_so(fails):
    assert "Hub cannot be reached" in fails(4, *RUN, "--model", "nobody/nothing", "--task", "nutshell")


def test_a_folder_that_is_no_run_says_so(fails, tmp_path):
    for command in (("report",), ("grade",), ("leaderboard", "--budget", "1"), ("compare", tmp_path)):
        assert "no run folder" in fails(5, *command, tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ('{"problem": "1 + 1?"}\n', "no column 'answer'"),
        ('{"problem": "1 + 1?", "anwser": "2"}\n', "did you mean 'anwser'?"),
        ('{"problem": "1 + 1?", "answer": "2", "unique_id": "a", "subject": "s", "level": 1}\n{"prob', "line 2"),
    ],
)
def test_a_bad_data_file_is_named_with_its_line(fails, tmp_path, text, said):
    path = tmp_path / "math.jsonl"
    path.write_text(text)
    assert str(path) in (answer := fails(4, *RUN, *MODEL, "--task", "math-500", "--data", path))
    assert said in answer


def test_a_task_without_its_data_says_where_to_put_it(fails):
    said = fails(4, *RUN, *MODEL, "--task", "math-500")
    assert "--data" in said and "TIMETRIAL_DATA" in said


def test_importing_what_is_no_dump_says_what_was_expected(fails, tmp_path):
    path = tmp_path / "dump.jsonl"
    path.write_text('{"question": "?"}\n')
    assert "completions" in fails(4, "import-samples", path, "--model", "m", "--temperature", "1")
    path.write_text('{"problem": "a", "n": 2, "correct": 3}\n')
    assert "3 correct of 2" in fails(4, "import-samples", path, "--model", "m", "--temperature", "1")
    path.write_text('{"problem": "a", "n": 2, "correct": 1}\n')
    assert "--model" in fails(2, "import-samples", path)


def test_an_unwritable_folder_is_named(fails, tmp_path):
    (tmp_path / "file").write_text("")
    said = fails(5, *RUN, *MODEL, "--task", "nutshell", "--limit", "5", "--out", tmp_path / "file" / "run")
    assert "cannot write" in said


def test_a_prompt_that_does_not_fit_the_model_is_a_failed_completion_not_a_crash(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "long.jsonl"
    row = {"problem": "apples " * 5000, "answer": "2", "unique_id": "long", "subject": "s", "level": 1}
    path.write_text(json.dumps(row) + "\n")
    arguments = [*RUN, *MODEL, "--task", "math-500", "--data", str(path), "--out", "run"]
    assert run_command_line(arguments) == 0
    completion = json.loads((tmp_path / "run" / "samples.jsonl").read_text().splitlines()[0])
    assert completion["finish"] == "error" and "context" in completion["error"]
    assert "2 completions failed" in capsys.readouterr().err


def test_a_broken_plugin_does_not_take_help_and_plugins_with_it(monkeypatch, capsys):
    monkeypatch.setenv("TIMETRIAL_DISABLED_PLUGINS", "taks")
    assert run_command_line(["tasks"]) == 2
    assert "did you mean 'tasks'?" in capsys.readouterr().err
    monkeypatch.setenv("TIMETRIAL_DISABLED_PLUGINS", "tasks")
    assert run_command_line(["plugins"]) == 0
    assert "disabled" in capsys.readouterr().out
    assert run_command_line(["--help"]) == 0


def test_a_dump_whose_own_votes_differ_from_a_replay_is_told(tmp_path, capsys):
    path = tmp_path / "dump.jsonl"
    row = {"problem": "?", "answer": "1", "completions": [r"\boxed{1}", r"\boxed{2}", r"\boxed{2}"]}
    row |= {"pred_maj@1": r"\boxed{1}", "pred_maj@2": r"\boxed{2}", "pred_maj@3": r"\boxed{2}"}
    path.write_text(json.dumps(row) + "\n")
    arguments = ["import-samples", path, "--model", "m", "--temperature", "1", "--check-votes", "--out", tmp_path / "r"]
    assert run_command_line([str(argument) for argument in arguments]) == 0
    said = capsys.readouterr().err
    assert "pred_maj@2: the file has '2', the replay gives '1'" in said
    assert "pred_maj@1" not in said and "pred_maj@3" not in said
