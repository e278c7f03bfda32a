"""Arrays are given out again when the last tensor that shares their memory is gone, and not before."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch

from sparkdl.data.loading import buffer_pool
from sparkdl.data.loading.buffer_pool import Recycled
from sparkdl.schema import ENTRY

pinnable = [
    pytest.param(False, id="as pinned memory"),
    pytest.param(True, id="pinned", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")),
]


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def test_an_array_that_nobody_holds_is_given_out_again() -> None:
    recycled = Recycled((3,), "float32")
    first = recycled.take(10)
    assert first.shape == (10, 3)
    assert first.dtype == np.float32
    place = address(first)
    del first
    smaller = recycled.take(4)
    assert smaller.shape == (4, 3)
    assert address(smaller) == place


def test_a_tensor_or_any_part_of_it_holds_the_array() -> None:
    recycled = Recycled((2,), "float32")
    column = recycled.take(6)
    place = address(column)
    part = torch.from_numpy(column).split([2, 4])[1]
    del column
    held = [part.numpy(), part[1:], part.reshape(-1)]
    del part
    while held:
        other = recycled.take(6)
        assert address(other) != place
        del other
        held.pop()
    assert place in {address(array) for array in [recycled.take(6), recycled.take(6)]}


def test_a_consumer_that_keeps_everything_gets_arrays_of_its_own() -> None:
    recycled = Recycled((1,), "int64")
    kept = []
    for number in range(40):
        array = recycled.take(2 + number % 3)
        array[:] = number
        kept.append(torch.from_numpy(array))
    assert [int(tensor[0, 0]) for tensor in kept] == list(range(40))
    assert all((tensor == number).all() for number, tensor in enumerate(kept))


def test_free_arrays_that_are_too_small_make_way() -> None:
    recycled = Recycled((), "float32")
    recycled.take(2)
    assert len(recycled.take(100)) == 100
    assert [len(array) for array in recycled._arrays] == [100]


@pytest.fixture
def pinned(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Arrays that were asked for as pinned ones; without a GPU they are made in the same way, of ordinary memory."""
    asked: list[Any] = []
    original = buffer_pool._array

    def array(shape: tuple[int, ...], dtype: Any, *, pinned: bool) -> Any:
        asked.append(shape)
        return original(shape, dtype, pinned=request.param)

    monkeypatch.setattr(buffer_pool, "_array", array)
    return asked


@pytest.mark.parametrize("pinned", pinnable, indirect=True)
def test_pinned_arrays_are_held_by_tensors_and_parts_of_them(pinned: list[Any]) -> None:
    recycled = Recycled((2, 3), "uint8", pinned=True)
    column = recycled.take(6)
    place = address(column)
    part = torch.from_numpy(column).split([2, 4])[1]
    assert part.data_ptr() == place + 2 * 6
    del column
    held = [part.numpy(), part[1:].permute(0, 2, 1)]
    del part
    while held:
        other = recycled.take(6)
        assert address(other) != place
        del other
        held.pop()
    assert address(recycled.take(5)) in {place, *(address(array) for array in recycled._arrays)}
    assert place in {address(array) for array in [recycled.take(6), recycled.take(6)]}
    assert pinned == [(6, 2, 3)] * 2


@pytest.mark.parametrize("pinned", pinnable, indirect=True)
def test_pinned_memory_is_bounded_whatever_a_consumer_keeps(pinned: list[Any]) -> None:
    recycled = Recycled((1,), "int64", pinned=True)
    kept = []
    for number in range(40):
        array = recycled.take(2)
        array[:] = number
        kept.append(torch.from_numpy(array))
    assert [int(tensor[0, 0]) for tensor in kept] == list(range(40))
    assert len(pinned) == buffer_pool._KEPT


def test_entries_of_sparse_vectors_are_not_pinned() -> None:
    assert Recycled((4,), ENTRY, pinned=True).take(3).dtype == np.dtype(ENTRY)


def test_where_no_memory_can_be_pinned_arrays_are_ordinary_and_it_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*shape: Any, pinned: bool) -> Any:
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(buffer_pool, "_array", refuse)
    recycled = Recycled((3,), "float32", pinned=True)
    with caplog.at_level(logging.WARNING):
        kept = [recycled.take(4), recycled.take(4)]
    assert [array.shape for array in kept] == [(4, 3), (4, 3)]
    assert [record.getMessage() for record in caplog.records] == [
        "batches are not in pinned memory, copies to the GPU are slower: CUDA error: out of memory"
    ]
