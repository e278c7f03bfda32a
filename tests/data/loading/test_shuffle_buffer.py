"""Rows are put where they are told to go, whatever a row is, and parts of the memory do not touch each other."""

from __future__ import annotations

import numpy as np

from sparkdl.data.format.row_layout import RowLayout
from sparkdl.data.loading.shuffle_buffer import ShuffleBuffer
from sparkdl.data.sampling.plan import Plan
from sparkdl.schema import ARRAY, IMAGE, INPUT, LABEL, SCALAR, VECTOR, DataSchema, Field

LAYOUT = RowLayout.of(
    DataSchema(
        (
            Field("image", INPUT, IMAGE, ("image",), "float32", (3, 2, 5)),
            Field("none", INPUT, ARRAY, ("none",), "float32", (0,)),
            Field("wide", INPUT, VECTOR, ("wide",), "float32", (1000,), entries=2),
            Field("label", LABEL, SCALAR, ("label",), "int64", (1,)),
        )
    )
)


def test_rows_go_to_their_places_in_pieces() -> None:
    random = np.random.default_rng(0)
    rows = np.frombuffer(random.bytes(20 * LAYOUT.row_bytes), LAYOUT.dtype)
    memory = ShuffleBuffer(Plan(((40,),), 8, canonical_shards=1, window=40), LAYOUT.empty, 3)
    parts = [memory.take() for _ in range(3)]
    assert len(set(parts)) == 3
    for part in parts:
        for values in memory.rows(part):
            values.view(np.uint8)[...] = part
    places = random.permutation(40)[:20]
    target = memory.target(parts[1], places)
    for first, end in ((0, 7), (7, 20)):
        for slot, values in enumerate(LAYOUT.unpack(rows[first:end]).values()):
            target.scatter(slot, first, values)
    for values, scatter in zip(LAYOUT.unpack(rows).values(), memory.rows(parts[1]), strict=True):
        assert scatter[places].tobytes() == values.tobytes()
        rest = np.delete(scatter, places, axis=0)
        assert (rest.view(np.uint8) == parts[1]).all()
    for part in (parts[0], parts[2]):
        assert all((values.view(np.uint8) == part).all() for values in memory.rows(part))


def test_parts_are_free_again_when_they_are_given_back_or_all_are() -> None:
    memory = ShuffleBuffer(Plan(((8,),), 4, canonical_shards=2, window=8), LAYOUT.empty, 2)
    first, second = memory.take(), memory.take()
    memory.give_back(first)
    assert memory.take() == first
    memory.clear()
    assert {memory.take(), memory.take()} == {first, second}
