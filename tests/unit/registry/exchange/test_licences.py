"""Which models the Llama licences apply to, and what they ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from timetrial_registry.licences import LLAMA_LICENCES, find_agreement, hub_licence, llama_licences


@pytest.mark.parametrize(
    ("ref", "generation"),
    [
        ("meta-llama/Llama-3.2-1B-Instruct", "3.2"),
        ("meta-llama/Llama-3.2-1B@9213176726f574b556790deb65791e0c5aa438b6", "3.2"),
        ("meta-llama/Meta-Llama-3.1-8B", "3.1"),
        ("meta-llama/Meta-Llama-3-8B", "3"),
        ("meta-llama/Llama-2-7b-hf", "2"),
        ("JunxiongWang/Llama3.2-Mamba2-3B-distill", "3.2"),
        ("somebody/llama-3.3-70b-4bit", "3.3"),
        ("meta-llama/Llama-4-Scout-17B-16E", "4"),
        ("nutshell-llama", None),
        ("nutshell-llama@3", None),
        ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", None),
        ("huggyllama/llama-7b", None),
        ("JackFram/llama-68m", None),
        ("openlm-research/open_llama_3b", None),
        ("cartesia-ai/Llamba-1B", None),
        ("nvidia/OpenMathInstruct-2", None),
    ],
)
def test_a_repository_is_a_llama_by_the_beginning_of_its_name(ref: str, generation: str | None) -> None:
    assert [licence.generation for licence in llama_licences([], [ref])] == ([] if generation is None else [generation])


@pytest.mark.parametrize(
    ("text", "generation"),
    [
        ("llama3.2", "3.2"),
        ("Llama 3.2 Community License", "3.2"),
        ("LLAMA 3.1 COMMUNITY LICENSE AGREEMENT", "3.1"),
        ("llama2", "2"),
        ("apache-2.0", None),
        ("MIT", None),
    ],
)
def test_a_licence_is_recognised_however_it_is_spelled(text: str, generation: str | None) -> None:
    assert [licence.generation for licence in llama_licences([text, None], [])] == (
        [] if generation is None else [generation]
    )


def test_several_generations_apply_together_each_once_oldest_first() -> None:
    found = llama_licences(["llama3.2"], ["meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.2-1B"])
    assert [licence.hub_id for licence in found] == ["llama3.1", "llama3.2"]


def test_the_notice_is_the_one_that_the_licence_prescribes() -> None:
    assert LLAMA_LICENCES["3.2"].notice == (
        "Llama 3.2 is licensed under the Llama 3.2 Community License, Copyright \u00a9 Meta Platforms, Inc. "
        "All Rights Reserved."
    )
    assert LLAMA_LICENCES["3"].notice.startswith("Meta Llama 3 is licensed under the Meta Llama 3 Community License,")
    assert "LLAMA 2 Community License, Copyright (c) Meta" in LLAMA_LICENCES["2"].notice


@pytest.mark.parametrize(
    ("generation", "name", "is_fine"),
    [
        ("3.2", "me/Llama-3.2-MambaInLlama-1B", True),
        ("3.2", "me/Llama_student", True),
        ("3.2", "me/MambaInLlama-1B", False),
        ("3.2", "Llama/student", False),
        ("3.2", "me/llama-student", False),
        ("3", "me/Llama-3-student", True),
        ("3", "me/Llama-student", False),
        ("2", "me/anything", True),
    ],
)
def test_the_name_of_a_published_model_begins_as_the_licence_wants(generation: str, name: str, is_fine: bool) -> None:
    assert LLAMA_LICENCES[generation].accepts_name(name) is is_fine


def test_a_file_is_an_agreement_by_what_it_says_not_by_its_name(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir(), second.mkdir()
    (first / "LICENSE").write_text("Apache License, Version 2.0, which mentions the Llama 3.2 Community License once")
    (second / "LICENSE.txt").write_text("LLAMA 3.2 COMMUNITY\n LICENSE AGREEMENT\nand so on")
    assert find_agreement(LLAMA_LICENCES["3.2"], [first, second]) == second / "LICENSE.txt"
    assert find_agreement(LLAMA_LICENCES["3.1"], [first, second]) is None
    assert find_agreement(LLAMA_LICENCES["3.2"], [first]) is None


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        (None, {}),
        ("Apache-2.0", {"license": "apache-2.0"}),
        ("My own", {"license": "other", "license_name": "My own"}),
    ],
)
def test_a_licence_gets_the_hubs_identifier_or_is_named(licence: str | None, expected: dict[str, str]) -> None:
    assert hub_licence(licence, []) == expected


def test_a_llama_licence_stands_before_the_publishers_own() -> None:
    assert hub_licence("apache-2.0", llama_licences(["llama3.1", "llama3.2"], [])) == {"license": "llama3.2"}
