"""A manifest comes back as it was; from damaged bytes comes a manifest or a DataError, and nothing else."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparkdl.data.format.manifest import DataFile, FieldCount, Manifest
from sparkdl.data.format.manifest_check import is_below
from sparkdl.errors import DataError
from sparkdl.schema import ARRAY, INPUT, LABEL, SCALAR, DataSchema, Field

MANIFEST = Manifest(
    url="hdfs://name/rows",
    schema=DataSchema(
        (
            Field("features", INPUT, ARRAY, ("features",), "float32", (3, -1), ("",), entries=4, sparse=True),
            Field("label", LABEL, SCALAR, ("label",), "float32", ()),
        )
    ),
    files=(
        DataFile("a/part-0.parquet", 0, 0, (10, 5), 400, "host", "00ff", (("day", 3), ("share", 0.5))),
        DataFile("part-1.parquet", 1, 0, (), 8),
    ),
    counts={
        "features": FieldCount(nulls=1, shapes={"3,4": 15}, minimum=float("-inf"), maximum=2),
        "label": FieldCount(classes={"1.0": 15}, non_integers=2, fraction=0.5),
    },
)
TEXT = json.dumps(MANIFEST.to_json())
PLAIN = [None, True, -1, 0, 1, 10**30, 1e308, float("nan"), "", "..", "../x", "/etc/passwd", "a\x00b", "file:///etc"]
NESTED = [
    [],
    {},
    [[]],
    [None],
    [1] * 5000,
    {"path": 1},
    json.loads("[" * 300 + "]" * 300),
    {"a": {"b": {}}},
    "x" * 9999,
]
HOSTILE = st.sampled_from([*PLAIN, *NESTED])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | HOSTILE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)
fuzz = settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))


def test_a_manifest_comes_back_as_it_was() -> None:
    again = Manifest.from_json(json.loads(TEXT))
    assert again == MANIFEST
    assert again.hash == MANIFEST.hash
    assert again.rows == 15
    old = json.loads(TEXT)
    del old["format"]
    assert Manifest.from_json(old) == MANIFEST


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def changed(value: Any, path: tuple[Any, ...], new: Any, how: str) -> Any:
    if not path:
        return new
    copied = value.copy()
    if len(path) > 1 or how == "replace":
        copied[path[0]] = changed(value[path[0]], path[1:], new, how)
    elif how == "remove":
        copied.pop(path[0])
    elif isinstance(copied, dict):
        copied[str(new)[:20]] = copied.pop(path[0])
    return copied


def used(value: Any) -> None:
    """Read a manifest and ask for all that others ask it for."""
    refused: list[str] = []
    try:
        manifest = Manifest.from_json(value)
    except DataError as error:
        refused.append(str(error))
    if refused:
        assert len(refused[0]) < 500
        return
    assert all(is_below(file.path) and file.rows >= 0 for file in manifest.files)
    assert Manifest.from_json(manifest.to_json()).hash == manifest.hash
    assert all(isinstance(f.size, int) for f in manifest.schema.fields)


@fuzz
@given(
    path=st.sampled_from(list(places(json.loads(TEXT)))), new=JSON, how=st.sampled_from(["replace", "remove", "name"])
)
def test_any_value_replaced(path: tuple[Any, ...], new: Any, how: str) -> None:
    used(changed(json.loads(TEXT), path, new, how))


@fuzz
@given(
    start=st.integers(0, len(TEXT)),
    count=st.integers(0, 20),
    new=st.text(max_size=20) | st.sampled_from('0123456789-"[]{},'),
)
def test_any_text_replaced(start: int, count: int, new: str) -> None:
    try:
        value = json.loads(TEXT[:start] + new + TEXT[start + count :])
    except (ValueError, RecursionError):
        return
    used(value)


@pytest.mark.parametrize(
    "value", [None, 1, "x", [], {}, {"formatVersion": 2}, {"formatVersion": 1}, {"formatVersion": [1]}]
)
def test_what_is_no_manifest_is_named(value: Any) -> None:
    with pytest.raises(DataError, match=r"manifest of format version|manifest is damaged"):
        Manifest.from_json(value)


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../../x", "file:///x", "a\x00b", "..\\x", None, 3])
def test_a_file_that_is_not_below_the_folder_is_refused(path: Any) -> None:
    value = json.loads(TEXT)
    value["files"][0]["path"] = path
    with pytest.raises(DataError, match="'files' is missing or has a value"):
        Manifest.from_json(value)


def test_numbers_in_a_manifest_take_no_memory() -> None:
    value = replace(MANIFEST, files=(DataFile("p", 0, 0, (1 << 62,), 1 << 62),)).to_json()
    value["schema"][0]["shape"] = [1 << 62] * 64
    tracemalloc.start()
    used(value)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20
