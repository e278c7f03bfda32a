"""Scoring by the JVM alone, as the Scala stages do it, for the tests that Python's own scoring passes as well."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import DataFrame
from torch import nn

from sparkdl.errors import SparkDLError
from sparkdl.network import Reference
from sparkdl.network.resolve import STRUCTURE
from sparkdl.persistence import write_network
from sparkdl.schema import MASK, Field
from sparkdl.scoring.outputs import ClassificationHead, GenericHead, OutputColumn


def by_jvm(
    folder: Path,
    frame: DataFrame,
    module: nn.Module,
    fields: list[Field],
    head: GenericHead | ClassificationHead,
    *,
    invalid: str = "error",
    layers: Mapping[str, OutputColumn] | None = None,
    repair: Mapping[str, float] | None = None,
) -> DataFrame:
    """Add the columns of a network to a DataFrame by a plan of the JVM's.

    Raises
    ------
    SparkDLError
        With what the JVM says.
    """
    spark = frame.sparkSession
    jvm: Any = spark._jvm
    scoring = jvm.sparkdl.scoring
    saved = folder / f"network-{id(module)}"
    write_network(module, Reference(STRUCTURE), saved)
    trained = [scoring.Field.fromJson(scoring.Field.value(json.dumps(asdict(field)))) for field in fields]
    imports = sorted({type(part).__module__ for part in module.modules()})
    try:
        bound = scoring.Inputs.bound(
            _sequence(jvm, trained),
            _sequence(jvm, [_sequence(jvm, field.columns) for field in fields if field.kind != MASK]),
            "inputCols",
            frame._jdf.schema(),
        )
        plan = scoring.ScoringPlan(
            bound,
            _sequence(jvm, trained),
            _head(jvm, head),
            _sequence(jvm, [_layer(jvm, name, column) for name, column in (layers or {}).items()]),
            3,
            "auto",
            "float32",
            invalid,
            *(jvm.scala.Option.apply((repair or {}).get(name)) for name in ("fill_value", "pad_value")),
            _sequence(jvm, imports),
        )
        network = scoring.NetworkFiles(jvm.java.io.File(str(saved)).toPath())
        return DataFrame(plan.addColumns(frame._jdf, network), spark)
    except Py4JJavaError as error:
        cause = error.java_exception
        if cause.getClass().getName() != "sparkdl.SparkDLException":
            raise
        # By inputCols a column is named with its Param.
        raise SparkDLError(cause.getMessage().replace(" of inputCols", "")) from None


def _sequence(jvm: Any, items: Iterable[Any]) -> Any:
    made = jvm.java.util.ArrayList()
    for item in items:
        made.add(item)
    return jvm.scala.jdk.javaapi.CollectionConverters.asScala(made).toSeq()


def _layer(jvm: Any, name: str, column: OutputColumn) -> Any:
    empty = jvm.org.apache.spark.sql.types.Metadata.empty()
    made = jvm.sparkdl.scoring.OutputColumn(column.name, column.type, _sequence(jvm, column.shape), empty)
    return jvm.scala.Tuple2(name, made)


def _head(jvm: Any, head: GenericHead | ClassificationHead) -> Any:
    if isinstance(head, GenericHead):
        shapes = [_sequence(jvm, shape) for shape in head.shapes]
        return jvm.sparkdl.scoring.GenericHead(_sequence(jvm, head.names), _sequence(jvm, shapes))
    thresholds = None if head.thresholds is None else _sequence(jvm, head.thresholds)
    return jvm.sparkdl.scoring.ClassificationHead(
        head.raw_prediction,
        head.probability,
        head.prediction,
        head.classes,
        jvm.scala.Option.apply(thresholds),
        _sequence(jvm, head.labels),
    )
