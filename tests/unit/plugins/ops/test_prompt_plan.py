"""A plan has every sharing row once, in a block of its prompt, in tensors that stay where they are."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from timetrial_plugins.models.shared_prompt import KeyValues
from timetrial_plugins.ops.prompt_plan import PromptPlan
from timetrial_plugins.ops.reference import REFERENCE

ENTRIES = KeyValues(torch.zeros(3, 1, 4, 2), torch.zeros(3, 1, 4, 2))
LENGTHS = torch.full((3,), 4)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(-1, 2), min_size=1, max_size=70), st.lists(st.integers(-1, 2), min_size=0, max_size=70))
def test_every_row_is_in_one_block_of_its_prompt(before, assignment):
    """Whatever was assigned before, and however full the plan is."""
    plan = PromptPlan(70, 3, torch.device("cpu"))
    plan.assign(before)
    plan.assign(assignment)
    shared = plan.prompts(ENTRIES, LENGTHS, 70)
    found = {}
    for prompt, rows in zip(shared.prompt_of_block.tolist(), shared.rows_of_block.tolist(), strict=True):
        for row in rows:
            if row >= 0:
                assert row not in found
                found[row] = prompt
    assert found == {row: prompt for row, prompt in enumerate(assignment) if prompt >= 0}
    assert shared.prompt_of_row.tolist() == assignment + [-1] * (70 - len(assignment))


def test_addresses_stay():
    plan = PromptPlan(8, 3, torch.device("cpu"))
    before = [tensor.data_ptr() for tensor in plan.prompts(ENTRIES, LENGTHS, 8)[1:]]
    plan.assign([0, 1, 2, -1, 0])
    assert [tensor.data_ptr() for tensor in plan.prompts(ENTRIES, LENGTHS, 8)[1:]] == before


def test_a_prompt_that_is_not_there_is_refused():
    with pytest.raises(AssertionError, match="row 1 shares prompt 3 of 3"):
        PromptPlan(8, 3, torch.device("cpu")).assign([0, 3])


def test_planned_attention_is_that_of_the_reference(kernels, make_draws):
    draws = make_draws(torch.float32)
    plan = PromptPlan(20, 2, torch.device("cpu"))
    plan.assign([0] * 17 + [1, -1])
    entries, own = (KeyValues(*(draws.normal(rows, 2, 9, 8) for _ in range(2))) for rows in (2, 19))
    prompts = plan.prompts(entries, torch.tensor([9, 5]), 19)
    query, lengths = draws.normal(19, 4, 8), torch.arange(19) % 9 + 1
    found = kernels.attend(query, own, lengths, prompts)
    torch.testing.assert_close(found, REFERENCE.attend(query, own, lengths, prompts), rtol=1e-5, atol=1e-5)
