"""Nested state as JSON and tensors."""

from __future__ import annotations

import io
import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparkdl.comm import wire
from sparkdl.errors import PersistenceError
from sparkdl.train.checkpoint.tensor_file import read_tensors, write_tensors
from sparkdl.train.checkpoint.tree import flatten, unflatten

_KEYS = st.one_of(st.text(max_size=5), st.integers(), st.booleans(), st.none(), st.floats(allow_nan=False))
_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.lists(st.floats(width=32, allow_nan=False), max_size=4).map(torch.tensor),
    st.lists(st.integers(0, 2**32 - 1), max_size=4).map(lambda each: np.array(each, dtype=np.uint32)),
)
VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.lists(inner, max_size=3).map(tuple), st.dictionaries(_KEYS, inner, max_size=3)
    ),
    max_leaves=10,
)


def same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and bool(np.array_equal(one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@given(VALUES)
def test_comes_back_as_it_was(value: Any) -> None:
    skeleton, tensors = flatten(value, "state")
    assert same(unflatten(json.loads(json.dumps(skeleton)), tensors), value)


def test_a_dict_that_looks_like_a_mark_comes_back() -> None:
    for value in ({"$tensor": "x"}, {"$pairs": []}, {"a": {"$tuple": [1]}}):
        skeleton, tensors = flatten(value, "state")
        assert unflatten(skeleton, tensors) == value


def test_a_counter_comes_back_as_one() -> None:
    skeleton, tensors = flatten({"milestones": Counter([3, 3, 5])}, "state")
    back = unflatten(json.loads(json.dumps(skeleton)), tensors)["milestones"]
    assert sorted(back.elements()) == [3, 3, 5]


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("dtype", [torch.bool, torch.bfloat16, torch.complex128, torch.uint16, torch.float8_e5m2fnuz])
def test_tensors_of_every_dtype_and_layout_come_back(dtype: torch.dtype) -> None:
    dense = torch.tensor([[0, 1, 0], [1, 1, 0]]).to(dtype)
    kept = [dense, dense.t(), dense[:1].expand(2, 3), dense[0, 0], dense[:0]]
    if dtype not in (torch.uint16, torch.float8_e5m2fnuz):
        kept += [dense.to_sparse(), dense.to_sparse_csr(), dense.to_sparse_csc()]
    skeleton, tensors = flatten(kept, "state")
    read = read_tensors(*written(tensors))
    for value, back in zip(kept, unflatten(json.loads(json.dumps(skeleton)), read), strict=True):
        assert (back.dtype, back.layout, back.shape) == (value.dtype, value.layout, value.shape)
        assert wire.same(back, value)


def written(tensors: dict[str, torch.Tensor]) -> tuple[io.BytesIO, int, int]:
    stream = io.BytesIO()
    size, crc = write_tensors(stream, tensors)
    return io.BytesIO(stream.getvalue()), size, crc


@pytest.mark.parametrize("value", [object(), {1j}, torch.ones(2).to_mkldnn(), {(1, 2): 3}])
def test_refuses_what_it_cannot_hold_and_says_where(value: Any) -> None:
    with pytest.raises(PersistenceError, match=r"state\.callbacks\.0"):
        flatten({"callbacks": [value]}, "state")


@pytest.mark.parametrize("skeleton", [{"$tensor": "absent"}, {"$pairs": 3}, {"$bytes": "zz"}, {"$pairs": [[[1], 2]]}])
def test_damage_is_an_error_of_ours(skeleton: Any) -> None:
    with pytest.raises(PersistenceError, match="does not fit together"):
        unflatten(skeleton, {})
