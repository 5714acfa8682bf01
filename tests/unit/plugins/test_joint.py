"""Linear maps as one product, from the parameters or packed: the same outputs, and the parameters left alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from timetrial_plugins.models.joint import JointLinear, Products
from timetrial_plugins.models.packed import PackedProduct, can_pack
from timetrial_plugins.ops.native.build import build_problem
from timetrial_plugins.ops.native.native_ops import native_kernels


def maps(*widths: int, bias: bool = False, dtype: torch.dtype = torch.float32) -> list[nn.Linear]:
    torch.manual_seed(0)
    return [nn.Linear(24, width, bias=bias, dtype=dtype) for width in widths]


@pytest.fixture(params=["onednn", "native"])
def products(request: pytest.FixtureRequest) -> Products:
    """What makes products of copies of the weights."""
    if request.param == "onednn":
        return PackedProduct
    if (problem := build_problem()) is not None:
        pytest.skip(problem)
    return native_kernels(torch.float32).product


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("widths", [(8,), (40, 8, 8), (33, 7)], ids=str)
@pytest.mark.parametrize("batch", [1, 2, 7, 64])
def test_packed_outputs_are_those_of_the_maps_side_by_side(
    batch: int, widths: tuple[int, ...], bias: bool, products: Products
) -> None:
    parts, x = maps(*widths, bias=bias), torch.randn(batch, 24)
    expected = torch.cat([part(x) for part in parts], dim=-1)
    joint = JointLinear(*parts)
    assert torch.equal(joint(x), expected)
    with torch.inference_mode():
        joint.pack(products)
        assert torch.allclose(joint(x), expected, atol=1e-6)


@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("layout", ["parameters", "packed", "fused"])
def test_a_bias_may_be_left_out(layout: str, has_bias: bool, products: Products) -> None:
    (part,), x = maps(8, bias=True), torch.randn(3, 24)
    joint = JointLinear(part, has_bias=has_bias)
    expected = part(x) if has_bias else x @ part.weight.T
    assert torch.allclose(joint.apart(x)[0], expected, atol=1e-6)
    with torch.inference_mode():
        if layout == "packed":
            joint.pack(products)
        elif layout == "fused":
            joint.fuse()
        assert torch.allclose(joint(x), expected, atol=1e-6)
        assert torch.allclose(joint.apart(x)[0], expected, atol=1e-6)


@pytest.mark.parametrize("is_packed", [False, True])
def test_an_embedding_is_the_map_to_its_tokens_and_only_the_first_rows_are_wanted(
    is_packed: bool, products: Products
) -> None:
    embedding, x = nn.Embedding(10, 24), torch.randn(3, 24)
    joint = JointLinear(embedding, rows=7)
    with torch.inference_mode():
        if is_packed:
            joint.pack(products)
        assert torch.allclose(joint(x), x @ embedding.weight[:7].T, atol=1e-5)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(1,), (1, 1), (5, 1), (2, 9)], ids=str)
def test_there_may_be_any_axes_before_the_inputs(shape: tuple[int, ...], bias: bool, products: Products) -> None:
    parts, x = maps(8, 5, bias=bias), torch.randn(*shape, 24)
    joint = JointLinear(*parts)
    with torch.inference_mode():
        joint.pack(products)
        assert torch.allclose(joint(x), torch.cat([part(x) for part in parts], dim=-1), atol=1e-6)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("layout", ["parameters", "packed", "fused"])
@pytest.mark.parametrize("batch", [1, 2, 64])
def test_outputs_may_be_added_to_something_or_written_somewhere(
    batch: int, layout: str, bias: bool, products: Products
) -> None:
    parts, x, sums = maps(40, 8, bias=bias), torch.randn(batch, 24), torch.randn(batch, 48)
    joint = JointLinear(*parts)
    with torch.inference_mode():
        if layout == "packed":
            joint.pack(products)
        elif layout == "fused":
            joint.fuse()
        expected, place = sums + joint(x), torch.zeros(batch, 50)
        joint(x, out=place[:, :48])
        assert torch.allclose(place[:, :48], joint(x), atol=1e-6) and not place[:, 48:].any()
        assert torch.allclose(joint(x, onto=sums), expected, atol=1e-6)


def test_maps_apart_are_the_maps_and_packed_only_where_nothing_is_differentiated(products: Products) -> None:
    parts, x = maps(8, 5), torch.randn(2, 3, 24)
    joint = JointLinear(*parts)
    joint.pack(products)
    for part in parts:
        part.weight.data *= 2  # the packed copies are the old weights
    assert all(torch.equal(ours, part(x)) for ours, part in zip(joint.apart(x), parts, strict=True))
    with torch.inference_mode():
        for ours, part in zip(joint.apart(x), parts, strict=True):
            assert torch.allclose(2 * ours, part(x), atol=1e-5)


def test_a_packed_row_does_not_depend_on_its_company(products: Products) -> None:
    joint, x = JointLinear(*maps(96, 32)), torch.randn(64, 24)
    with torch.inference_mode():
        joint.pack(products)
        whole = joint(x)
        assert all(torch.equal(joint(x[:size]), whole[:size]) for size in (2, 7))


def test_packing_again_takes_the_weights_as_they_are_then(products: Products) -> None:
    (part,), x = maps(8), torch.randn(3, 24)
    joint = JointLinear(part)
    with torch.inference_mode():
        joint.pack(products)
        part.weight *= 2
        before = joint(x)
        joint.pack(products)
        assert torch.allclose(joint(x), 2 * before, atol=1e-6)


def test_packed_half_precision_is_close_to_float32() -> None:
    parts, x = maps(40, 8, bias=True), torch.randn(16, 24)
    expected = torch.cat([part(x) for part in parts], dim=-1)
    joint = JointLinear(*(part.to(torch.bfloat16) for part in parts))
    if not can_pack(torch.bfloat16, torch.device("cpu")):
        pytest.skip("this processor does not multiply bfloat16")
    with torch.inference_mode():
        joint.pack(PackedProduct)
        assert torch.allclose(joint(x.bfloat16()).float(), expected, atol=0.03, rtol=0.02)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16], ids=str)
def test_weights_without_a_packed_layout_are_read_where_they_are(dtype: torch.dtype) -> None:
    parts, x = maps(8, 8, dtype=dtype), torch.randn(3, 24, dtype=dtype)
    joint = JointLinear(*parts)
    assert not can_pack(dtype, torch.device("cpu"))
    assert torch.equal(joint(x), torch.cat([part(x) for part in parts], dim=-1))


def test_it_adds_no_parameters(products: Products) -> None:
    class Module(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            (self.inner,) = maps(8)
            self.joint = JointLinear(self.inner)

    module = Module()
    module.joint.pack(products)
    assert list(module.state_dict()) == ["inner.weight"]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("widths", [(8,), (40, 8, 8)], ids=str)
def test_fused_parameters_are_parts_of_one_matrix_and_what_they_were(widths: tuple[int, ...], bias: bool) -> None:
    parts, x = maps(*widths, bias=bias), torch.randn(5, 24)
    expected, before = [part(x) for part in parts], [part.weight.clone() for part in parts]
    joint = JointLinear(*parts)
    joint.fuse()
    assert torch.allclose(joint(x), torch.cat(expected, dim=-1), atol=1e-6)
    for part, weight, output in zip(parts, before, expected, strict=True):
        assert isinstance(part.weight, nn.Parameter) and torch.equal(part.weight, weight)
        assert torch.equal(part(x), output)
    assert len({part.weight.untyped_storage().data_ptr() for part in parts}) == 1
    with torch.inference_mode():
        for output, reference in zip(joint.apart(x), expected, strict=True):
            assert torch.allclose(output, reference, atol=1e-6)


def test_fused_weights_follow_their_parameters_and_leave_out_unwanted_rows() -> None:
    embedding, x = nn.Embedding(10, 24), torch.randn(3, 24)
    joint = JointLinear(embedding, rows=7)
    joint.fuse()
    assert joint.num_outputs == 7 and torch.allclose(joint(x), x @ embedding.weight[:7].T, atol=1e-5)
    with torch.no_grad():
        embedding.weight.mul_(2)
    assert torch.allclose(joint(x), x @ embedding.weight[:7].T, atol=1e-5)
