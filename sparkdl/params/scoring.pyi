"""Made by docs/make_params.py from the declarations in scoring.py: change those."""

from collections.abc import Mapping
from typing import Self

from pyspark.ml.param import Param
from pyspark.ml.param.shared import HasBatchSize, HasHandleInvalid

from sparkdl.params.ranks import HasDevice

class HasScoring(HasDevice, HasBatchSize, HasHandleInvalid):
    batchSize: Param[int]
    def getBatchSize(self) -> int: ...
    def setBatchSize(self, value: int | None) -> Self: ...
    outputLayers: Param[dict[str, str]]
    def getOutputLayers(self) -> dict[str, str]: ...
    def setOutputLayers(self, value: Mapping[str, str] | None) -> Self: ...
    handleInvalid: Param[str]
    def getHandleInvalid(self) -> str: ...
    def setHandleInvalid(self, value: str | None) -> Self: ...
