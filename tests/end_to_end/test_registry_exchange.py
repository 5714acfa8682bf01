"""A checkpoint's way as a user goes it: export, import, run by its alias, attach its figures, rank, export again."""

import json

import pytest

from .conftest import CommandLine

RUN = ("--task", "nutshell", "--temperature", "0.8", "--quiet", "--samples", "2", "--limit", "4", "--max-tokens", "64")
GRID = ("--batch", "1,2", "--repeats", "1", "--prompt-tokens", "8", "--new-tokens", "4")


@pytest.fixture(scope="module")
def user(tmp_path_factory, rates_measured_once):
    """Somebody whose registry holds the shipped model's weights under a name of their own, as student@champion."""
    timetrial = CommandLine(tmp_path_factory.mktemp("user"), rates_measured_once)
    timetrial("registry", "export", "nutshell-llama", "exported", "-q")
    timetrial("registry", "import", "exported", "--name", "student", "-q")
    timetrial("registry", "alias", "student", "champion", "1")
    return timetrial


@pytest.mark.slow
def test_a_version_is_run_by_its_alias_registered_ranked_and_exported_with_its_figures(user):
    told = json.loads(
        user("run", "--model", "student@champion", *RUN, *GRID, "--register-metrics", "--json", "--out", "run")
    )
    (registered,) = told["registered"]
    assert (registered["version"], registered["reason"]) == ("student@1", None)
    assert registered["num_new"] == registered["num_figures"] == 4, "two rules at one and two samples"

    recorded = json.loads((user.folder / "run" / "config.json").read_text())["models"]["student@champion"]
    assert recorded["registry"]["name"] == "student" and recorded["registry"]["version"] == 1

    again = json.loads(user("report", "run", "--register-metrics", "--json", "-q"))
    assert again[0]["registered"][0]["num_new"] == 0

    of_runs = json.loads(user("leaderboard", "run", "--budget", "100", "--json"))["standings"]
    of_registry = json.loads(user("leaderboard", "--registry", "--budget", "100", "--json"))["standings"]
    names = ("task", "k", "rule", "value", "low", "high", "seconds", "num_problems", "rank")
    assert [[row[name] for name in names] for row in of_runs] == [[row[name] for name in names] for row in of_registry]
    assert {row["model"] for row in of_registry} == {"student@1"}

    user("registry", "export", "student@champion", "again", "-q")
    card = (user.folder / "again" / "README.md").read_text()
    assert "model-index:" in card and "| nutshell | coverage, T = 0.8 | 2 |" in card


def test_an_export_and_an_import_tell_scripts_what_they_did(user):
    told = json.loads(user("registry", "export", "student", "copied", "--json", "-q"))
    assert told["version"] == "student@1" and "lineage.json" in told["files"] and told["missing_agreements"] == []
    came = json.loads(user("registry", "import", "copied", "--name", "copy", "--json", "-q"))
    assert (came["ref"], came["exported_as"], came["source"]) == ("copy@1", "student@1", None)
    assert came["digest"] == told["digest"] and came["tensor_digest"] == told["tensor_digest"]
    listed = json.loads(user("models", "--json"))["registry"]
    assert [row["name"] for row in listed] == ["copy@1", "student@1"]
    shown = json.loads(user("models", "show", "student@champion", "--json"))
    assert shown["family"] == "llama" and shown["location"] == "student@1"
    assert user("registry", "verify", "--json", "-q").strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("registry", "export", "nutshell-lama", "out"), 4, "did you mean 'nutshell-llama'"),
        (("registry", "export", "nutshell-llama", "out", "--public"), 2, "name the repository with --push"),
        (("registry", "export", "nutshell-llama", "out", "--benchmark", "x"), 6, "expected DATA=OWNER/DATASET:TASK"),
        (("registry", "import", "nowhere"), 4, "expected a folder, or a Hub id"),
        (("registry", "import", "exported"), 2, "publish under another one"),
        (("leaderboard", "--registry", "nutshell-llama", "--budget", "1"), 2, "--register-metrics"),
        (("leaderboard", "--budget", "1"), 2, "pass --registry"),
        (("run", "--model", "nutshell-llama", *RUN, "--register-metrics"), 2, "needs a model of your registry"),
        (("run", "--model", "studnet@champion", *RUN), 2, "did you mean 'student'"),
    ],
)
def test_what_cannot_be_done_is_said_with_a_way_out(user, arguments, code, message):
    assert message in user(*arguments, expect=code)
    assert not (user.folder / "out").exists()


def test_what_is_shipped_is_listed_and_verified_like_any_version(timetrial):
    models = json.loads(timetrial("registry", "list", "--json"))
    assert "nutshell-llama" in [model["name"] for model in models if model["latest"]["is_shipped"]]
    assert timetrial("registry", "verify", "--json", "-q").strip() == "[]"
    assert not (timetrial.folder / "registry").exists(), "reading makes no registry"
