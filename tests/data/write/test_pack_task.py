"""Tasks that pack rows, loaders that read them, networks that take the batches; in one process and without Spark."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from sparkdl.comm import open_backend
from sparkdl.data.format.manifest import DataFile, Manifest
from sparkdl.data.loading.loader import Batch, Loader
from sparkdl.data.sampling.plan import Plan
from sparkdl.data.types import to_tensor
from sparkdl.data.write.pack_task import CONTENT, HASH_COLUMN, TRAIN, WriteTask
from sparkdl.errors import DataError
from sparkdl.schema import ARRAY, INPUT, LABEL, MASK, SCALAR, VECTOR, WEIGHT, DataSchema, Field
from sparkdl.scoring.scorer import Scorer, ScorerSettings
from sparkdl.train.config import TrainConfig
from sparkdl.train.loop import fit

SIZE = 500
VECTORS = pa.struct(
    [("type", pa.int8()), ("size", pa.int32()), ("indices", pa.list_(pa.int32())), ("values", pa.list_(pa.float64()))]
)


def packed(folder: Path, schema: DataSchema, columns: list[pa.Array], **settings: Any) -> Manifest:
    """The rows of two batches, written as a task does it."""
    names = [f"c{place}" for place in range(len(columns))]
    whole = pa.RecordBatch.from_arrays(columns, names=names)
    half = whole.num_rows // 2
    task = WriteTask(schema, url=str(folder), **settings)
    entries = task.write(iter([whole.slice(0, half), whole.slice(half)]), 0, 0)
    (entry,) = [entry for entry in entries if entry["split"] == TRAIN]
    file = DataFile(**{**entry["file"], "row_groups": tuple(entry["file"]["row_groups"])})
    return Manifest(str(folder), schema, (file,))


def all_rows(manifest: Manifest) -> Batch:
    loader = Loader(manifest, Plan.of(manifest, batch_size=10_000, shuffle=False), 0, 1, reader="arrow")
    (batch,) = loader.epoch(0)
    loader.close()
    return batch  # type: ignore[no-any-return]


def vectors(dense: np.ndarray[Any, Any]) -> pa.Array:
    """Every third one dense, the others sparse, as Spark keeps them."""
    rows: list[dict[str, Any]] = []
    for number, row in enumerate(dense.tolist()):
        if number % 3 == 0:
            rows.append({"type": 1, "size": None, "indices": None, "values": row})
        else:
            places = np.flatnonzero(row).tolist()
            rows.append({"type": 0, "size": SIZE, "indices": places, "values": [row[place] for place in places]})
    return pa.array(rows, VECTORS)


@pytest.fixture
def dense() -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(2)
    values = np.zeros((90, SIZE), dtype=np.float32)
    for row in values[1:]:
        row[rng.choice(SIZE, rng.integers(0, 20), replace=False)] = rng.normal(size=SIZE)[0]
    return values


def sparse_schema(as_sparse: bool) -> DataSchema:
    return DataSchema(
        (
            Field("v", INPUT, VECTOR, ("v",), "float32", (SIZE,), entries=20, sparse=as_sparse),
            Field("y", LABEL, SCALAR, ("y",), "float32", (1,)),
            Field("w", WEIGHT, SCALAR, ("w",), "float32", (1,)),
        )
    )


def columns_of(dense: np.ndarray[Any, Any]) -> list[pa.Array]:
    y = dense.sum(1).astype(np.float32)
    return [vectors(dense), pa.array(y), pa.array((np.arange(len(y)) % 7 != 3).astype(np.float32))]


@pytest.mark.parametrize("as_sparse", [False, True])
def test_sparse_vectors_come_back_from_packed_rows_and_from_arrow_alike(
    tmp_path: Path, dense: np.ndarray[Any, Any], as_sparse: bool
) -> None:
    schema = sparse_schema(as_sparse)
    manifest = packed(tmp_path, schema, columns_of(dense))
    assert manifest.files[0].bytes < dense.nbytes
    (batch,) = all_rows(manifest).inputs
    scored = to_tensor([vectors(dense).slice(0, 90)], schema.fields[0])
    part = to_tensor([vectors(dense).slice(40, 11)], schema.fields[0])
    assert batch.is_sparse == scored.is_sparse == as_sparse
    assert torch.equal(batch.to_dense(), torch.from_numpy(dense))
    assert torch.equal(scored.to_dense(), torch.from_numpy(dense))
    assert torch.equal(part.to_dense(), torch.from_numpy(dense[40:51]))
    if as_sparse:
        assert batch.coalesce()._nnz() == np.count_nonzero(dense)
    with pytest.raises(DataError, match=r"'v' has 90 of 90 vectors of the size 500, 400 is needed"):
        to_tensor([vectors(dense)], replace(schema.fields[0], shape=(400,)))


def test_a_vector_with_more_entries_than_were_counted_is_no_surprise_later(
    tmp_path: Path, dense: np.ndarray[Any, Any]
) -> None:
    dense[5] = 1
    with pytest.raises(DataError, match="'v' has a vector of 500 entries, 20 were the most when they were counted"):
        packed(tmp_path, sparse_schema(False), columns_of(dense))


def test_a_network_learns_and_scores_the_same_from_sparse_and_dense_batches(
    tmp_path: Path, dense: np.ndarray[Any, Any]
) -> None:
    results = []
    for as_sparse in (False, True):
        manifest = packed(tmp_path / str(as_sparse), sparse_schema(as_sparse), columns_of(dense))
        torch.manual_seed(0)
        network = nn.Linear(SIZE, 1)
        config = TrainConfig(losses=("mse",), epochs=2, optimizer="sgd", learning_rate=0.1, accumulation_steps=3)
        loader = Loader(manifest, Plan.of(manifest, batch_size=32), 0, 1, reader="arrow")
        trained = fit(network, config, loader, loader, open_backend("local"))
        loader.close()
        network.load_state_dict(trained.state)
        scores = Scorer(network, ScorerSettings(batch_size=16))(
            [to_tensor([vectors(dense)], manifest.schema.fields[0])]
        )
        results.append(([row["loss"] for row in trained.history], scores[0]))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-5)
    assert results[0][0][1] < results[0][0][0]
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-5, atol=1e-5)


def test_masks_are_made_from_the_lengths(tmp_path: Path) -> None:
    schema = DataSchema(
        (
            Field("a", INPUT, ARRAY, ("a",), "int64", (3,)),
            Field("a (mask)", INPUT, MASK, ("a",), "bool", (3,), (ARRAY,)),
        )
    )
    lengths = pa.array([3, 0, 1, None, 2], pa.int32())
    padded = pa.array([[1, 2, 3], [0, 0, 0], [7, 0, 0], None, [8, 9, 0]], pa.list_(pa.int64()))
    a, mask = all_rows(packed(tmp_path, schema, [padded, lengths])).inputs
    assert a.tolist() == [[1, 2, 3], [0, 0, 0], [7, 0, 0], [8, 9, 0]]
    assert mask.dtype == torch.bool
    assert mask.sum(1).tolist() == [3, 0, 1, 2]
    assert torch.equal(mask, to_tensor([lengths.drop_null()], schema.fields[1]))


def test_hashes_of_all_rows_are_added_up_those_that_are_not_written_too(tmp_path: Path) -> None:
    schema = DataSchema((Field("x", INPUT, SCALAR, ("x",), "float32", (1,)),))
    hashes = pa.array([-1, 2, 1 << 62], pa.int64())
    batch = pa.RecordBatch.from_arrays([pa.array([1.0, None, 3.0], pa.float32()), hashes], names=["c0", HASH_COLUMN])
    entries = WriteTask(schema, url=str(tmp_path)).write(iter([batch, batch]), 0, 0)
    (content,) = [entry for entry in entries if entry["split"] == CONTENT]
    assert content["rows"] == 6
    assert content["total"] % (1 << 64) == 2 * ((1 << 62) + 1) % (1 << 64)


def test_rows_are_packed_without_torch(tmp_path: Path) -> None:
    """Importing it takes each Python worker of Spark seconds."""
    program = """
import sys
import pyarrow as pa
from sparkdl.data.write.pack_task import WriteTask
from sparkdl.data.direct.block_task import BlockTask
from sparkdl.schema import *
fields = (Field("a", INPUT, ARRAY, ("a",), "float32", (3,)), Field("m", INPUT, MASK, ("a",), "bool", (3,), (ARRAY,)),
    Field("s", INPUT, SCALAR, ("s",), "int64", (1,)))
columns = [pa.array([[1.0, None], None], pa.list_(pa.float32())), pa.array([2, None], pa.int32()), pa.array([None, 4])]
batch = pa.RecordBatch.from_arrays(columns, ["c0", "c1", "c2"])
task = WriteTask(DataSchema(fields), url=sys.argv[1], fill_value=7.0, pad_value=0.0)
(entry,) = task.write(iter([batch]), 0, 0)
print(entry["file"]["row_groups"], "torch" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.split() == ["(2,)", "False"], done.stdout + done.stderr
