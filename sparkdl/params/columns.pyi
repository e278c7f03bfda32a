"""Made by docs/make_params.py from the declarations in columns.py: change those."""

from collections.abc import Sequence
from typing import Self

from pyspark.ml.param import Param
from pyspark.ml.param.shared import (
    HasFeaturesCol,
    HasInputCols,
    HasLabelCol,
    HasOutputCols,
    HasPredictionCol,
    HasProbabilityCol,
    HasRawPredictionCol,
    HasThresholds,
    HasValidationIndicatorCol,
    HasWeightCol,
)

from sparkdl.params.setting import Settings

class HasInputs(Settings, HasFeaturesCol, HasInputCols):
    featuresCol: Param[str]
    def getFeaturesCol(self) -> str: ...
    def setFeaturesCol(self, value: str | None) -> Self: ...
    featuresCols: Param[list[str]]
    def getFeaturesCols(self) -> list[str] | None: ...
    def setFeaturesCols(self, value: Sequence[str] | None) -> Self: ...
    inputCols: Param[list[str]]
    def getInputCols(self) -> list[str] | None: ...  # type: ignore[override]
    def setInputCols(self, value: Sequence[str] | None) -> Self: ...

class HasLabel(Settings, HasLabelCol):
    labelCol: Param[str]
    def getLabelCol(self) -> str: ...
    def setLabelCol(self, value: str | None) -> Self: ...

class HasLabels(HasLabel):
    labelCols: Param[list[str]]
    def getLabelCols(self) -> list[str] | None: ...
    def setLabelCols(self, value: Sequence[str] | None) -> Self: ...

class HasPrediction(Settings, HasPredictionCol):
    predictionCol: Param[str]
    def getPredictionCol(self) -> str: ...
    def setPredictionCol(self, value: str | None) -> Self: ...

class HasOutputs(HasPrediction, HasOutputCols):
    outputCols: Param[list[str]]
    def getOutputCols(self) -> list[str] | None: ...  # type: ignore[override]
    def setOutputCols(self, value: Sequence[str] | None) -> Self: ...

class HasRowRoles(Settings, HasWeightCol, HasValidationIndicatorCol):
    weightCol: Param[str]
    def getWeightCol(self) -> str | None: ...  # type: ignore[override]
    def setWeightCol(self, value: str | None) -> Self: ...
    validationIndicatorCol: Param[str]
    def getValidationIndicatorCol(self) -> str | None: ...  # type: ignore[override]
    def setValidationIndicatorCol(self, value: str | None) -> Self: ...
    validationFraction: Param[float]
    def getValidationFraction(self) -> float: ...
    def setValidationFraction(self, value: float | None) -> Self: ...

class HasClassColumns(Settings, HasRawPredictionCol, HasProbabilityCol, HasThresholds):
    rawPredictionCol: Param[str]
    def getRawPredictionCol(self) -> str: ...
    def setRawPredictionCol(self, value: str | None) -> Self: ...
    probabilityCol: Param[str]
    def getProbabilityCol(self) -> str: ...
    def setProbabilityCol(self, value: str | None) -> Self: ...
    thresholds: Param[list[float]]
    def getThresholds(self) -> list[float] | None: ...  # type: ignore[override]
    def setThresholds(self, value: Sequence[float] | None) -> Self: ...
