"""A DataFrame with a model's columns, against the network's own output."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pyspark.errors import PythonException
from pyspark.ml.feature import IndexToString
from pyspark.ml.functions import array_to_vector
from pyspark.ml.linalg import DenseVector, SparseVector, Vectors
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from torch import nn

from sparkdl.errors import SparkDLError
from sparkdl.schema import ARRAY, IMAGE, INPUT, MASK, SCALAR, STACKED, VECTOR, Field
from sparkdl.scoring.inputs import bound_inputs
from sparkdl.scoring.outputs import ClassificationHead, GenericHead, OutputColumn
from sparkdl.scoring.score_plan import ScoringPlan
from sparkdl.scoring.scorer import ScorerSettings
from sparkdl.scoring.ship import send
from sparkdl.scoring.transform import add_columns
from sparkdl.spark.session import registered_conf, with_conf
from tests.scoring.jvm import by_jvm

Scored = Callable[..., DataFrame]
"""Adds the columns of a network to a DataFrame: frame, module, fields and head, and what is not as usual."""


def by_python(
    frame: DataFrame,
    module: nn.Module,
    fields: list[Field],
    head: Any,
    *,
    invalid: str = "error",
    arrow: bool | None = None,
    layers: dict[str, OutputColumn] | None = None,
    repair: dict[str, float] | None = None,
) -> DataFrame:
    bound = bound_inputs(fields, [field.columns for field in fields if field.kind != MASK], frame.schema)
    inner = layers or {}
    settings = ScorerSettings(batch_size=3, layers=tuple(inner))
    plan = ScoringPlan(bound, head, tuple(inner.values()), settings, invalid, **repair or {})
    return add_columns(frame, plan, lambda spark: send(spark, module), arrow=arrow)


@pytest.fixture(params=["arrow_udf", "pandas_udf", "jvm"])
def scored(request: pytest.FixtureRequest, tmp_path: Path) -> Scored:
    """Each test is one of scoring by Python's driver, in both ways, and of scoring by the JVM alone."""
    if request.param == "jvm":
        request.getfixturevalue("bridge")
        return partial(by_jvm, tmp_path)
    return partial(by_python, arrow=request.param == "arrow_udf")


def field(kind: str, columns: tuple[str, ...], shape: tuple[int, ...], dtype: str = "float32") -> Field:
    return Field(columns[0], INPUT, kind, columns, dtype, shape)


def image(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((2, 2, 3), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


class Everything(nn.Module):
    """Takes one input of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 2)
        self.wide = nn.Linear(2 + 2 + 3 + 4 + 1, 2)

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        index, stacked, vector, nested, image = inputs
        parts = [self.table(index).flatten(1), stacked, vector, nested.flatten(1), image.mean((1, 2, 3)).unsqueeze(1)]
        return self.wide(torch.cat(parts, 1)), nested


class Joined(nn.Module):
    """Puts two inputs beside each other."""

    def forward(self, x: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return torch.cat((x, v), 1)


def test_every_kind_of_input_with_unusual_names(spark: SparkSession, scored: Scored) -> None:
    rows = [
        (i, i % 5, 0.5 * i, float(-i), [1.0, i, 2.0] if i % 2 else [0.0, 0.0, i], [[i, 1], [2, 3]], image(i))
        for i in range(11)
    ]
    vector: Callable[[list[float]], Any] = lambda v: DenseVector(v) if v[0] else SparseVector(3, [2], [v[2]])  # noqa: E731
    frame = spark.createDataFrame(
        [(i, a, b, c, vector(v), n, p, "kept", "too") for i, a, b, c, v, n, p in rows],
        ["id", "a.b", "x y", "$c", "v", "n", "p", "t", "T2"],
    )
    # Two columns of one name stand by unharmed.
    frame = frame.select("*", F.col("t").alias("t"))
    fields = [
        field(SCALAR, ("a.b",), (1,), "int64"),
        field(STACKED, ("x y", "$c"), (2,)),
        field(VECTOR, ("v",), (3,)),
        field(ARRAY, ("n",), (2, 2)),
        field(IMAGE, ("p",), (3, 2, 2)),
    ]
    network = Everything().eval()
    out = scored(frame, network, fields, GenericHead(("out.put", "same"), ((2,), (2, 2))))
    assert out.columns == [*frame.columns, "out.put", "same"]
    assert out.dtypes[-2:] == [("out.put", "array<float>"), ("same", "array<array<float>>")]
    inputs = [
        torch.tensor([[r[1]] for r in rows]),
        torch.tensor([[r[2], r[3]] for r in rows]),
        torch.tensor([[float(x) for x in r[4]] for r in rows]),
        torch.tensor([r[5] for r in rows]).float(),
        torch.stack([torch.full((3, 2, 2), i / 255) for i in range(11)]),
    ]
    with torch.no_grad():
        expected = network(*inputs)
    got = sorted(out.collect(), key=lambda row: row["id"])
    np.testing.assert_allclose([row["out.put"] for row in got], expected[0], rtol=1e-5, atol=1e-6)
    assert [row["same"] for row in got] == expected[1].tolist()
    assert {row["T2"] for row in got} == {"too"}


@pytest.mark.parametrize("vectors", [False, True])
def test_classes_over_a_parquet_scan_in_one_pass(
    spark: SparkSession, tmp_path: Path, scored: Scored, vectors: bool
) -> None:
    # Spark 4.2 cannot hand the columns of a vectorised scan to Python if there is a vector among them.
    path = str(tmp_path / "rows")
    values = F.array(*(F.rand(i).cast("float") for i in range(4)))
    spark.range(50).select("id", values.alias("x"), array_to_vector(values).alias("v")).write.parquet(path)
    frame = spark.read.parquet(path).withColumn("rows_0", F.lit("kept"))
    frame = frame.select("*", F.col("id").alias("ID2"), F.col("id").alias("ID2")) if vectors else frame.drop("v")
    network = nn.Linear(4, 3).eval()
    inputs = [field(VECTOR, ("v",), (4,)) if vectors else field(ARRAY, ("x",), (4,))]
    out = scored(frame, network, inputs, ClassificationHead("raw", "prob", "pred", 3))
    assert out.columns == [*frame.columns, "raw", "prob", "pred"]
    plan = out._jdf.queryExecution().executedPlan().toString()
    assert plan.count("ArrowEvalPython") == 1
    assert plan.count("score(") == 1
    for row in out.collect():
        with torch.no_grad():
            logits = network(torch.tensor([row["x"]])).double()[0]
        np.testing.assert_allclose(row["raw"].toArray(), logits, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(row["prob"].toArray(), torch.softmax(logits, 0), rtol=1e-5)
        assert row["pred"] == logits.argmax()


def test_filters_on_other_columns_reach_the_scan(spark: SparkSession, tmp_path: Path, scored: Scored) -> None:
    path = str(tmp_path / "days")
    rows = spark.range(12).select("id", (F.col("id") % 4).alias("day"), F.array(F.col("id").cast("float")).alias("x"))
    rows.write.partitionBy("day").parquet(path)
    out = scored(spark.read.parquet(path), nn.Identity(), [field(ARRAY, ("x",), (1,))], GenericHead(("y",), ((1,),)))
    chosen = out.where("day = 3 and id > 5")
    with with_conf(spark, "spark.sql.maxMetadataStringLength", "1000"):
        plan = chosen._jdf.queryExecution().executedPlan().toString()
    (partitions,) = re.findall(r"PartitionFilters: (.*?), PushedFilters", plan)
    (pushed,) = re.findall(r"PushedFilters: (.*?), ReadSchema", plan)
    assert re.search(r"day#\d+ = 3", partitions)
    assert "GreaterThan(id,5)" in pushed
    assert sorted(row["y"] for row in chosen.collect()) == [7.0, 11.0]
    # Only what is read is fetched, and rows are formed where a version would not do it.
    kept = out.select("id")._jdf.queryExecution().executedPlan().toString()
    assert "ReadSchema: struct<id:bigint>" in kept
    columnar = registered_conf(spark, "spark.sql.execution.arrow.pythonUDF.columnarInput.enabled")
    assert ("forall([]," in plan) is (columnar == "true")


def test_nulls(spark: SparkSession, scored: Scored) -> None:
    rows = [
        (0, [1.0, 2.0], Vectors.dense(1.0)),
        (1, None, Vectors.dense(2.0)),
        (2, [3.0, None], Vectors.dense(3.0)),
        (3, [5.0, 6.0], None),
        (4, [7.0, 8.0], Vectors.sparse(1, {})),
    ]
    frame = spark.createDataFrame(rows, ["id", "x", "v"]).coalesce(1)

    fields = [field(ARRAY, ("x",), (2,)), field(VECTOR, ("v",), (1,))]
    head = ClassificationHead("raw", "", "pred", 3)

    def predictions(invalid: str, repair: dict[str, float] | None = None) -> dict[int, Any]:
        out = scored(frame, Joined(), fields, head, invalid=invalid, repair=repair)
        return {row["id"]: (row["raw"] and list(row["raw"]), row["pred"]) for row in out.collect()}

    whole = {0: ([1.0, 2.0, 1.0], 1.0), 4: ([7.0, 8.0, 0.0], 1.0)}
    nothing = (None, None)
    assert predictions("keep") == {**whole, 1: nothing, 2: nothing, 3: nothing}
    assert predictions("skip") == whole
    # As in training: a row that is null whole is filled too.
    filled = {1: ([9.0, 9.0, 2.0], 0.0), 2: ([3.0, 9.0, 3.0], 1.0), 3: ([5.0, 6.0, 9.0], 2.0)}
    for invalid in ("error", "skip", "keep"):
        assert predictions(invalid, {"fill_value": 9.0}) == {**whole, **filled}
    with pytest.raises(
        PythonException, match="column 'x': 2 null rows in a batch of 5: fill them, or set handleInvalid"
    ):
        predictions("error")
    empty = scored(frame.filter("id = 1"), Joined(), fields, head, invalid="keep").collect()
    assert [row["pred"] for row in empty] == [None]


def test_nan_is_no_whole_number(spark: SparkSession, scored: Scored) -> None:
    nan = float("nan")
    rows = [(0, 5.0, 1.5), (1, nan, 1.0), (2, None, 1.0), (3, -7.9, 2.0), (4, 1.0, nan)]
    frame = spark.createDataFrame(rows, "id long, n double, f float").coalesce(1)
    fields = [field(SCALAR, ("n",), (1,), "int64"), field(STACKED, ("id", "f"), (2,), "int64")]

    def predictions(invalid: str) -> dict[int, Any]:
        out = scored(frame, Joined(), fields, GenericHead(("y",), ((3,),)), invalid=invalid)
        return {row["id"]: row["y"] for row in out.collect()}

    whole = {0: [5, 0, 1], 3: [-7, 3, 2]}
    assert predictions("skip") == whole
    assert predictions("keep") == {**whole, 1: None, 2: None, 4: None}
    with pytest.raises(PythonException, match="column 'n': 2 null rows in a batch of 5"):
        predictions("error")


def test_rows_of_another_length(spark: SparkSession, scored: Scored) -> None:
    frame = spark.createDataFrame([([1.0, 2.0],), ([1.0],), ([1.0, 2.0, 3.0],)], "x array<float>").coalesce(1)
    network, fields = nn.Identity(), [field(ARRAY, ("x",), (2,))]
    head = GenericHead(("y",), ((2,),))
    with pytest.raises(PythonException, match="column 'x' has 2 of 3 rows of length 1, 3, 2 is needed"):
        scored(frame, network, fields, head).collect()
    with pytest.raises(PythonException, match="column 'x' has 1 of 3 rows of length 3, 2 is needed"):
        scored(frame, network, fields, head, repair={"pad_value": 0.5}).collect()
    short = scored(frame.filter(F.size("x") < 3), network, fields, head, repair={"pad_value": 0.5}).collect()
    assert [row["y"] for row in short] == [[1.0, 2.0], [1.0, 0.5]]


class Boxes(nn.Module):
    def forward(self, boxes: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return boxes + 100 * mask.unsqueeze(2)


def test_pad_arrays_of_arrays(spark: SparkSession, scored: Scored) -> None:
    rows = [([[1.0, 2.0]],), ([],), ([[1.0, 2.0], [3.0, 4.0]],), ([[1.0]],), ([[1.0, 2.0]] * 3,)]
    frame = spark.createDataFrame(rows, "x array<array<double>>").coalesce(1)
    fields = [field(ARRAY, ("x",), (2, 2)), Field("x (mask)", INPUT, MASK, ("x",), "bool", (2,), (ARRAY,))]
    head, repair = GenericHead(("y",), ((2, 2),)), {"pad_value": 0.5}
    right = frame.filter("size(x) = 0 or (size(x) < 3 and size(get(x, 0)) = 2)")
    assert [row["y"] for row in scored(right, Boxes(), fields, head, repair=repair).collect()] == [
        *([[101, 102], [0.5, 0.5]], [[0.5, 0.5], [0.5, 0.5]], [[101, 102], [103, 104]])
    ]
    wrong = frame.filter("size(x) = 3 or size(get(x, 0)) = 1")
    with pytest.raises(PythonException, match="column 'x' has 2 of 2 rows of length 1x1, 3x2, 2x2 is needed"):
        scored(wrong, Boxes(), fields, head, repair=repair).collect()


@pytest.mark.parametrize(
    ("kind", "columns", "shape", "words"),
    [
        (ARRAY, ("nope",), (2,), r"column 'nope' is missing in the DataFrame \(it has 's', 'n', 'x', 'two', 'two'\)"),
        (ARRAY, ("s",), (2,), "column 's' is of type string"),
        (ARRAY, ("two",), (2,), "column 'two' stands 2 times"),
        (ARRAY, ("x",), (2, 2), r"column 'x' holds arrays nested 1 deep, .* shape \(2, 2\)"),
        (STACKED, ("n", "x"), (2,), "column 'x' is stacked with others"),
        (SCALAR, ("n",), (3,), "'n' gives 1 number for each row"),
    ],
)
def test_columns_that_do_not_fit(
    spark: SparkSession, scored: Scored, kind: str, columns: tuple[str, ...], shape: tuple[int, ...], words: str
) -> None:
    frame = spark.createDataFrame([("a", 1, [1.0], 1, 2)], ["s", "n", "x", "two", "two"])
    with pytest.raises(SparkDLError, match=words):
        scored(frame, nn.Identity(), [field(kind, columns, shape)], GenericHead(("y",), ((2,),)))


def test_columns_that_exist_or_have_one_name(spark: SparkSession, scored: Scored) -> None:
    frame = spark.createDataFrame([([1.0],)], ["x"])
    fields = [field(ARRAY, ("x",), (1,))]
    with pytest.raises(SparkDLError, match="output column 'X' exists already"):
        scored(frame, nn.Identity(), fields, GenericHead(("X",), ((1,),)))
    with pytest.raises(SparkDLError, match="output column 'y' exists already"):
        scored(frame, nn.Identity(), fields, GenericHead(("y", "y"), ((1,), (1,))))
    assert scored(frame, nn.Identity(), fields, GenericHead(("",), ((1,),))).columns == ["x"]
    with with_conf(spark, "spark.sql.caseSensitive", "true"):
        assert scored(frame, nn.Identity(), fields, GenericHead(("X",), ((1,),))).columns == ["x", "X"]
        with pytest.raises(SparkDLError, match="output column 'x' exists already"):
            scored(frame, nn.Identity(), fields, GenericHead(("x",), ((1,),)))


def test_labels_of_a_column_with_a_dot(spark: SparkSession, scored: Scored) -> None:
    frame = spark.createDataFrame([([1.0, 2.0],)], ["x"])
    head = ClassificationHead("", "", "out.put", 2, labels=("no", "yes"))
    out = scored(frame, nn.Identity(), [field(ARRAY, ("x",), (2,))], head)
    named = IndexToString(inputCol="label", outputCol="name").transform(out.withColumnRenamed("out.put", "label"))
    assert named.select("name").first() == ("yes",)
