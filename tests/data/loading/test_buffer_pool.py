"""Arrays are given out again when the last tensor that shares their memory is gone, and not before."""

from __future__ import annotations

import numpy as np
import torch

from sparkdl.data.loading.buffer_pool import Recycled


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
