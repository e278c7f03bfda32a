"""From a DataFrame to batches of tensors: packing, manifest, plan, loader; and the converter for loops of one's own."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sparkdl.data.cache.store import clear_cache
    from sparkdl.data.converter.converter import make_spark_converter, open_parquet
    from sparkdl.data.converter.dataset import SparkDatasetConverter

_PLACES = {
    "clear_cache": "sparkdl.data.cache.store",
    "SparkDatasetConverter": "sparkdl.data.converter.dataset",
    "make_spark_converter": "sparkdl.data.converter.converter",
    "open_parquet": "sparkdl.data.converter.converter",
}

__all__ = ["SparkDatasetConverter", "clear_cache", "make_spark_converter", "open_parquet"]


def __getattr__(name: str) -> object:
    # Ranks import the loader without pyspark.
    if name in _PLACES:
        value = getattr(import_module(_PLACES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
