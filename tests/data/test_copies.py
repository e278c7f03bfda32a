"""Rows on their way into a batch, pictures by several threads."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from sparkdl.data.copies import Copies

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 40, 3, 64, 64), dtype=np.uint8)


@pytest.mark.parametrize("threads", [1, 3])
def test_all_is_copied_when_it_is_finished(threads: int) -> None:
    copies = Copies(threads)
    numbers = np.empty(PIXELS.shape, np.float32)
    labels, as_they_are = np.arange(80).reshape(2, 40), np.empty(PIXELS.shape, np.uint8)
    copied = np.empty(labels.shape, labels.dtype)
    for _ in range(2):
        numbers[...] = copied[...] = 0
        for start in range(0, 40, 8):
            part = slice(start, start + 8)
            copies.add(PIXELS[:, part], numbers[:, part])
            copies.add(PIXELS[:, part], as_they_are[:, part])
            copies.add(labels[:, part], copied[:, part])
        copies.finish()
        np.testing.assert_array_equal(numbers, PIXELS / np.float32(255))
        np.testing.assert_array_equal(as_they_are, PIXELS)
        np.testing.assert_array_equal(copied, labels)
    copies.close()
    copies.close()
    assert not any(thread.name.startswith("sparkdl-scale") for thread in threading.enumerate())


def test_what_goes_wrong_in_another_thread_is_raised() -> None:
    copies = Copies(2)
    copies.add(PIXELS, np.empty((2, 40, 3, 64, 65), np.float32))
    with pytest.raises(ValueError, match="broadcast"):
        copies.finish()
    copies.finish()
    copies.close()
