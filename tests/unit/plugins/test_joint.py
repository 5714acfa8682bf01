"""Linear maps as one product, from the parameters or packed: the same outputs, and the parameters left alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from timetrial_plugins.models.joint import JointLinear


def maps(*widths: int, bias: bool = False, dtype: torch.dtype = torch.float32) -> list[nn.Linear]:
    torch.manual_seed(0)
    return [nn.Linear(24, width, bias=bias, dtype=dtype) for width in widths]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("widths", [(8,), (40, 8, 8), (33, 7)], ids=str)
@pytest.mark.parametrize("batch", [1, 7, 64])
def test_packed_outputs_are_those_of_the_maps_side_by_side(batch: int, widths: tuple[int, ...], bias: bool) -> None:
    parts, x = maps(*widths, bias=bias), torch.randn(batch, 24)
    expected = torch.cat([part(x) for part in parts], dim=-1)
    joint = JointLinear(*parts)
    assert torch.equal(joint(x), expected)
    with torch.inference_mode():
        assert joint.pack()
        assert torch.allclose(joint(x), expected, atol=1e-6)


@pytest.mark.parametrize("is_packed", [False, True])
def test_an_embedding_is_the_map_to_its_tokens_and_only_the_first_rows_are_wanted(is_packed: bool) -> None:
    embedding, x = nn.Embedding(10, 24), torch.randn(3, 24)
    joint = JointLinear(embedding, rows=7)
    with torch.inference_mode():
        assert not is_packed or joint.pack()
        assert torch.allclose(joint(x), x @ embedding.weight[:7].T, atol=1e-5)


def test_a_packed_row_does_not_depend_on_its_batch() -> None:
    joint, x = JointLinear(*maps(96, 32)), torch.randn(64, 24)
    with torch.inference_mode():
        assert joint.pack()
        whole = joint(x)
        assert all(torch.equal(joint(x[:size]), whole[:size]) for size in (1, 7))


def test_packing_again_takes_the_weights_as_they_are_then() -> None:
    (part,), x = maps(8), torch.randn(3, 24)
    joint = JointLinear(part)
    with torch.inference_mode():
        assert joint.pack()
        part.weight *= 2
        before = joint(x)
        assert joint.pack() and torch.allclose(joint(x), 2 * before, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_weights_without_a_packed_layout_are_read_where_they_are(dtype: torch.dtype) -> None:
    parts, x = maps(8, 8, dtype=dtype), torch.randn(3, 24, dtype=dtype)
    joint = JointLinear(*parts)
    assert not joint.pack()
    assert torch.equal(joint(x), torch.cat([part(x) for part in parts], dim=-1))


def test_it_adds_no_parameters() -> None:
    class Module(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            (self.inner,) = maps(8)
            self.joint = JointLinear(self.inner)

    module = Module()
    assert module.joint.pack() and list(module.state_dict()) == ["inner.weight"]
