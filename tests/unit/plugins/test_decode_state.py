"""The memory of decoded sequences: rows are shared, moved, dropped, saved and restored without knowing the family."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from timetrial.error import CheckpointError
from timetrial_plugins.models.interface import DecodeState


def make(rows: int, capacity: int, *, dtype: torch.dtype = torch.float32, layers: int = 2) -> DecodeState:
    """Return an empty state like a hybrid's: keys grow with the text, a recurrent state does not."""
    buffers = {
        "keys": torch.zeros(layers, rows, 3, capacity, 4, dtype=dtype),
        "ssm": torch.zeros(layers, rows, 5, 4, dtype=dtype),
    }
    return DecodeState(buffers, capacity)


def filled(rows: int, capacity: int, lengths: list[int], seed: int = 0) -> DecodeState:
    state, generator = make(rows, capacity), torch.Generator().manual_seed(seed)
    for buffer in state.buffers.values():
        buffer[:, : len(lengths)] = torch.randn(buffer[:, : len(lengths)].shape, generator=generator)
    state.lengths[: len(lengths)] = torch.tensor(lengths)
    state.batch, state.longest = len(lengths), max(lengths)
    return state


def test_a_snapshot_is_a_copy_of_the_rows_in_use() -> None:
    state = filled(5, 8, [3, 7, 2])
    snapshot = state.snapshot()
    assert {name: tuple(tensor.shape) for name, tensor in snapshot.items()} == {
        "keys": (2, 3, 3, 8, 4),
        "ssm": (2, 3, 5, 4),
        "lengths": (3,),
    }
    assert all(tensor.is_contiguous() for tensor in snapshot.values())
    state.wipe(torch.arange(3))
    assert snapshot["lengths"].tolist() == [3, 7, 2] and snapshot["ssm"].ne(0).all()


def test_restored_rows_come_after_those_in_use_and_may_have_more_room() -> None:
    saved, target = filled(3, 8, [3, 7, 2]), filled(6, 11, [9, 1], seed=1)
    before = {name: buffer[:, :2].clone() for name, buffer in target.buffers.items()}
    target.restore(saved.snapshot())
    assert target.batch == 5 and target.longest == 9 and target.lengths.tolist() == [9, 1, 3, 7, 2, 0]
    assert torch.equal(target.buffers["ssm"][:, 2:5], saved.buffers["ssm"])
    assert torch.equal(target.buffers["keys"][:, 2:5, :, :8], saved.buffers["keys"])
    assert all(torch.equal(target.buffers[name][:, :2], rows) for name, rows in before.items())


def test_no_rows_may_be_saved_and_restored() -> None:
    target = filled(2, 8, [4])
    target.restore(make(3, 8).snapshot())
    assert (target.batch, target.longest) == (1, 4)


def test_a_row_of_a_snapshot_is_a_row_of_the_state() -> None:
    state = filled(3, 8, [3, 7, 2])
    one = {name: tensor[1:2] if name == "lengths" else tensor[:, 1:2] for name, tensor in state.snapshot().items()}
    target = make(1, 8)
    target.restore(one)
    assert target.longest == 7 and torch.equal(target.buffers["ssm"][:, 0], state.buffers["ssm"][:, 1])


@pytest.mark.parametrize(("spoil", "message"), [
    (lambda s: s.pop("ssm"), "ssm is there on one side only"),
    (lambda s: s.pop("lengths"), "lengths is there on one side only"),
    (lambda s: s.update(values=s["keys"]), "values is there on one side only"),
    (lambda s: s.update(ssm=s["ssm"][:, :, :4].clone()), r"ssm has shape \[2, 3, 4, 4\].*room for \[2, 4, 5, 4\]"),
    (lambda s: s.update(ssm=s["ssm"][:1].clone()), r"ssm has shape \[1, 3, 5, 4\]"),
    (lambda s: s.update(ssm=s["ssm"][:, :2].clone()), r"ssm has shape \[2, 2, 5, 4\]"),
    (lambda s: s.update(keys=s["keys"][..., 0].clone()), r"keys has shape \[2, 3, 3, 8\]"),
    (lambda s: s.update(keys=s["keys"].bfloat16()), r"keys is torch.bfloat16, expected torch.float32"),
])  # fmt: skip
def test_what_is_not_this_models_state_is_refused_and_changes_nothing(
    spoil: Callable[[dict[str, Tensor]], None], message: str
) -> None:
    snapshot, target = filled(3, 8, [3, 7, 2]).snapshot(), make(4, 8)
    spoil(snapshot)
    with pytest.raises(CheckpointError, match=message):
        target.restore(snapshot)
    assert target.batch == 0 and not any(buffer.any() for buffer in target.buffers.values())


@pytest.mark.parametrize(("rows", "capacity"), [(2, 8), (3, 7)], ids=["too few rows", "too short"])
def test_a_snapshot_that_has_no_room_is_refused(rows: int, capacity: int) -> None:
    with pytest.raises(CheckpointError, match="keys has shape .* and there is room for"):
        make(rows, capacity).restore(filled(3, 8, [3, 7, 2]).snapshot())


def test_a_prompt_is_broadcast_to_rows_of_more_room() -> None:
    prompt, target = filled(1, 4, [4]), filled(6, 11, [9], seed=1)
    target.append(prompt, copies=3)
    assert target.batch == 4 and target.longest == 9 and target.lengths.tolist() == [9, 4, 4, 4, 0, 0]
    for row in (1, 2, 3):
        assert torch.equal(target.buffers["ssm"][:, row], prompt.buffers["ssm"][:, 0])
        assert torch.equal(target.buffers["keys"][:, row, :, :4], prompt.buffers["keys"][:, 0])
