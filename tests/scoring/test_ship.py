"""Networks of modules that only the driver's program finds."""

from __future__ import annotations

import importlib
import shutil
import uuid
from pathlib import Path

import pytest
from pyspark.errors import PythonException
from pyspark.sql import DataFrame, SparkSession

from sparkdl.schema import ARRAY, INPUT, Field
from sparkdl.scoring.outputs import GenericHead
from sparkdl.scoring.score_plan import ScoringPlan
from sparkdl.scoring.scorer import ScorerSettings
from sparkdl.scoring.ship import send
from sparkdl.scoring.transform import add_columns


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module beside a script in another folder: on this process's path, not on that of Spark's workers."""
    name = f"net_{uuid.uuid4().hex}"
    (tmp_path / f"{name}.py").write_text(
        "from torch import nn\n\n\nclass Twice(nn.Module):\n    def forward(self, x):\n        return 2 * x\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def scored(spark: SparkSession, name: str) -> DataFrame:
    network = importlib.import_module(name).Twice()
    fields = (Field("x", INPUT, ARRAY, ("x",), "float32", (1,)),)
    plan = ScoringPlan(fields, GenericHead(("y",), ((1,),)), (), ScorerSettings())
    return add_columns(spark.createDataFrame([([1.5],)], "x array<float>"), plan, lambda spark: send(spark, network))


def test_the_workers_look_where_the_driver_does(spark: SparkSession, beside: str) -> None:
    assert [row.y for row in scored(spark, beside).collect()] == [3.0]


def test_a_module_that_a_worker_lacks_is_named_with_the_remedy(
    spark: SparkSession, beside: str, tmp_path: Path
) -> None:
    frame = scored(spark, beside)
    shutil.rmtree(tmp_path)
    with pytest.raises(PythonException) as error:
        frame.collect()
    sentence = f"the network needs the module '{beside}', and this executor does not find it: send its file by "
    assert sentence + "spark.sparkContext.addPyFile or --py-files" in str(error.value)
