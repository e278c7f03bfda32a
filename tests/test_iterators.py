from __future__ import annotations

import pytest

from sparkdl.iterators import closed_at_end


def test_a_generator_is_closed_whatever_ends_the_block() -> None:
    ended = []

    def numbers():
        try:
            yield from range(3)
        finally:
            ended.append(True)

    generator = numbers()
    next(generator)
    with pytest.raises(KeyError), closed_at_end(generator):
        raise KeyError
    assert ended == [True]


def test_an_iterator_that_cannot_be_closed_is_left_alone() -> None:
    iterator = iter([1, 2])
    with closed_at_end(iterator):
        next(iterator)
    assert next(iterator) == 2
