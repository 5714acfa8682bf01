"""Tensors in large pages do not overlap, outlive their block's maker, and are had without large pages too."""

import mmap

import pytest
import torch

from timetrial_plugins.ops.native.pages import LargePages

PAGE = 1 << 21
SHAPES = [(3, 5), (1000, 7), (1,), (0, 4), (40, PAGE // 8), (2, 2)]


def none_here(monkeypatch):
    monkeypatch.delattr(mmap, "MADV_HUGEPAGE", raising=False)


def refused(monkeypatch):
    monkeypatch.setattr(mmap, "MADV_HUGEPAGE", -1, raising=False)  # what a kernel does not know


@pytest.mark.parametrize("system", [lambda monkeypatch: None, none_here, refused], ids=["as it is", "none", "refused"])
def test_tensors_keep_what_is_written_into_them(monkeypatch, system):
    system(monkeypatch)
    pages = LargePages()
    tensors = [
        pages.empty(shape, dtype).fill_(number)
        for number, (shape, dtype) in enumerate(
            (shape, dtype) for shape in SHAPES for dtype in (torch.float32, torch.bfloat16)
        )
    ]
    del pages
    for number, tensor in enumerate(tensors):
        assert tensor.shape == SHAPES[number // 2] and tensor.is_contiguous() and tensor.data_ptr() % 64 == 0
        assert (tensor == number).all()


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="large pages are asked for on Linux only")
def test_small_tensors_share_a_page_from_its_beginning_on():
    pages = LargePages()
    first, second = (pages.empty((100,), torch.float32) for _ in range(2))
    assert first.data_ptr() % PAGE == 0
    assert second.data_ptr() == first.data_ptr() + 448  # 400 bytes, to the end of a line
