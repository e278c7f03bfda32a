"""A value of a search's grid as a stage, which Spark's writers of searches save beside the grid."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.ml import Transformer

from sparkdl.params.choices import Choice
from sparkdl.params.shown import describe
from sparkdl.persistence.params import decode_value, encode_value
from sparkdl.persistence.stage import Savable

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


class GridValue(Choice, Savable, Transformer):
    """What a grid holds of a class, a function, a network or a callback; `value` is the thing itself.

    It is a Transformer because that is what Spark's writers save. As such it leaves a DataFrame as it is.
    """

    __module__ = "sparkdl"

    def __init__(self, param: str = "", value: Any = None) -> None:
        super().__init__()
        self.param = param
        self.value = value

    def __repr__(self) -> str:
        return describe(self.value)

    def _transform(self, dataset: DataFrame) -> DataFrame:
        return dataset

    def _write_parts(self, folder: Path) -> dict[str, Any]:
        return {"param": self.param, "value": encode_value(self.param, self.value, folder)}

    def _read_parts(self, folder: Path, metadata: dict[str, Any]) -> None:
        self.param = str(metadata["param"])
        self.value = decode_value(self.param, metadata["value"], folder)
