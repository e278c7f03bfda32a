"""Functions over Arrow batches as Spark calls them, whatever its version, and what a task knows about itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa

from sparkdl.spark.session import is_local, registered_conf

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType, StructType

Batches = Iterator[Sequence[pa.Array]]

_COLUMNAR = "spark.sql.execution.arrow.pythonUDF.columnarInput.enabled"


@dataclass(frozen=True)
class TaskResources:
    """What Spark has given to this task.

    Attributes
    ----------
    cpus : int
    gpus : tuple of str
        Addresses.
    partition : int
    """

    cpus: int = 1
    gpus: tuple[str, ...] = ()
    partition: int = 0


def task_resources() -> TaskResources:
    """Return what this task may use; one CPU outside of tasks."""
    from pyspark import TaskContext

    context = TaskContext.get()
    if context is None:
        return TaskResources()
    gpu = context.resources().get("gpu")
    return TaskResources(context.cpus(), tuple(gpu.addresses) if gpu else (), context.partitionId())


def iterator_udf(
    function: Callable[[Batches], Iterator[pa.Array]],
    return_type: DataType,
    input_types: Sequence[pa.DataType],
    *,
    arrow: bool | None = None,
) -> Callable[..., Column]:
    """Make a function over all batches of a task into a Spark function of columns.

    Parameters
    ----------
    function : callable
        Gets an iterator of batches, each with one Arrow array per column; yields an array for each.
    return_type : DataType
        Spark's type of that array.
    input_types : sequence of pyarrow.DataType
        Of the columns; those behind the last one given are left out where there are fewer.
    arrow : bool, optional
        Whether to use ``arrow_udf`` (pyspark 4.1 and later) or ``pandas_udf``; by default what this pyspark has.
    """
    from pyspark.sql import functions
    from pyspark.sql.pandas.functions import pandas_udf
    from pyspark.sql.types import StructType

    arrow_udf: Any = getattr(functions, "arrow_udf", None)
    made: Callable[..., Column]
    if arrow is not False and arrow_udf is not None:
        made = arrow_udf(over_arrow(function), return_type)
        return made
    types = tuple(input_types)
    made = cast(Any, pandas_udf)(_over_pandas(function, types, isinstance(return_type, StructType)), return_type)
    return lambda *columns: made(*(each for pair in zip(columns, types, strict=False) for each in _for_pandas(*pair)))


def arrow_types(schema: StructType) -> list[pa.DataType]:
    """Return the Arrow types in which the columns of a schema reach a function."""
    from pyspark.sql.pandas.types import to_arrow_type

    return [to_arrow_type(field.dataType) for field in schema.fields]


def by_rows(dataset: DataFrame) -> DataFrame:
    """Return the DataFrame so that a Python function gets its rows, not the columns of a scan as they lie in memory.

    Spark 4.2 and 4.3 hand those over where nothing stands between scan and function. That is slower than by rows, and
    fails if one of them, used or only kept, is a UDT (UNSUPPORTED_DATATYPE UDT). A filter makes Spark form rows first.
    This one lets all pass; the optimizer does not know it, but, as it is deterministic, moves other filters through it
    to the scan, and as it asks for no column, leaves out those that nobody reads.
    """
    from pyspark.sql import functions as F

    if registered_conf(dataset.sparkSession, _COLUMNAR) != "true":
        return dataset
    return dataset.filter(F.forall(F.array().cast("array<boolean>"), lambda item: item))


def on_local_master(spark: Any) -> bool:
    """Whether tasks run inside the driver's JVM (on Spark Connect the server's), on a host whose GPUs they share."""
    return is_local(spark)


def over_arrow(function: Callable[[Batches], Iterator[pa.Array]]) -> Callable[..., Any]:
    """Return the function as Spark calls it: of batches that are one bare array where there is one column."""

    # Spark reads these annotations to learn the kind of the function. One column comes bare, several as a tuple.
    def score(batches: Iterator[tuple[pa.Array, ...]]) -> Iterator[pa.Array]:
        yield from function(batch if isinstance(batch, tuple) else (batch,) for batch in batches)

    score.__annotations__ = {"batches": Iterator[tuple[pa.Array, ...]], "return": Iterator[pa.Array]}
    return score


def _for_pandas(column: Column, kind: pa.DataType) -> Sequence[Column]:
    """A column as pandas can hold it, and whether a row of it has no null: pandas has NaN for a null number.

    It would also make fractions of whole numbers, which are no longer exact where they are large.
    """
    from pyspark.sql import functions as F
    from pyspark.sql.pandas.types import from_arrow_type

    from sparkdl.spark.columns import all_present

    if _depth(kind):
        return column, F.coalesce(all_present(column, _depth(kind)), F.lit(False))
    if _is_number(kind):
        return F.coalesce(column, F.lit(0).cast(from_arrow_type(kind))), column.isNotNull()
    return (column,)


def _depth(kind: pa.DataType) -> int:
    """How many lists are nested in each other."""
    return 1 + _depth(kind.value_type) if pa.types.is_list(kind) or pa.types.is_large_list(kind) else 0


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def _over_pandas(
    function: Callable[[Batches], Iterator[pa.Array]], types: tuple[pa.DataType, ...], is_struct: bool
) -> Callable[..., Any]:
    # Only here: a worker that scores Arrow arrays starts a second sooner without pandas.
    import pandas as pd

    def score(batches: Iterator[tuple[pd.Series, ...]]) -> Iterator[Any]:
        columns = (batch if isinstance(batch, tuple) else (batch,) for batch in batches)
        for result in function(_arrays(batch, types) for batch in columns):
            if is_struct:
                names = [field.name for field in result.type]
                yield pd.DataFrame({name: _to_pandas(result.field(name)) for name in names})
            else:
                yield _to_pandas(result)

    returned: Any = Iterator[pd.DataFrame] if is_struct else Iterator[pd.Series]
    score.__annotations__ = {"batches": Iterator[tuple[pd.Series, ...]], "return": returned}
    return score


def _arrays(batch: Sequence[Any], types: Sequence[pa.DataType]) -> list[pa.Array]:
    """The columns that `_for_pandas` has sent."""
    import pandas as pd

    arrays, rest = [], iter(batch)
    for kind in types:
        values = next(rest, None)
        if values is None:
            break
        if isinstance(values, pd.DataFrame):
            arrays.append(pa.array(values.to_dict("records"), type=kind))
        elif _is_number(kind):
            arrays.append(pa.array(values.to_numpy(), type=kind, mask=~next(rest).to_numpy(dtype=bool)))
        elif _depth(kind):
            arrays.append(_lists(values, kind, next(rest).to_numpy(dtype=bool)))
        else:
            arrays.append(pa.Array.from_pandas(values, type=kind))
    return arrays


def _lists(values: Any, kind: pa.DataType, whole: Any) -> pa.Array:
    """Lists of which those that are not `whole` hold NaN for a null."""
    parts = [pa.array(values[whole], kind, from_pandas=False), pa.array(values[~whole], kind, from_pandas=True)]
    if whole.all():
        return parts[0]
    # Where each row stands in the parts: behind the rows of its own kind that come before it.
    places = np.where(whole, whole.cumsum() - 1, whole.sum() + (~whole).cumsum() - 1)
    return pa.concat_arrays(parts).take(pa.array(places))


def _to_pandas(array: pa.Array) -> pd.Series:
    import pandas as pd

    if pa.types.is_nested(array.type):
        return pd.Series(array.to_pylist(), dtype=object)
    return array.to_pandas()
