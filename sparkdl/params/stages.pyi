"""Made by docs/make_params.py from the declarations in stages.py: change those."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Self, TypedDict, Unpack

import torch

from sparkdl.params.checkpoint import HasCheckpoints
from sparkdl.params.columns import (
    HasClassColumns,
    HasInputs,
    HasLabel,
    HasLabels,
    HasOutputs,
    HasPrediction,
    HasRowRoles,
)
from sparkdl.params.feed import HasCache
from sparkdl.params.network import HasClasses, HasNetwork
from sparkdl.params.ranks import HasDevice, HasRanks
from sparkdl.params.reporting import HasReporting
from sparkdl.params.training import HasArithmetic, HasObjective, HasOptimization, HasPasses, HasStopping
from sparkdl.train.callbacks import Callback

class _TrainingKeywords(TypedDict, total=False):
    accumulationSteps: int | None
    backend: str | None
    batchSize: int | None
    cacheUrl: str | None
    callbacks: Sequence[Callback] | None
    canonicalShards: int | None
    checkpointInterval: int | None
    checkpointKeep: int | None
    checkpointMinutes: float | None
    checkpointSteps: int | None
    checkpointUrl: str | None
    compile: bool | Mapping[str, Any] | None
    device: str | None
    dropLast: bool | None
    earlyStoppingMetric: str | None
    earlyStoppingPatience: int | None
    epochs: int | None
    featuresCol: str | None
    featuresCols: Sequence[str] | None
    feed: str | None
    fillValue: float | None
    gradientClipNorm: float | None
    heartbeatTimeout: float | None
    inputCols: Sequence[str] | None
    labelCol: str | None
    learningRate: float | None
    loss: str | type | Callable[..., Any] | Sequence[str | type | Callable[..., Any]] | None
    lossParams: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None
    lossWeights: Sequence[float] | None
    lrSchedule: str | type | Callable[..., Any] | None
    lrScheduleParams: Mapping[str, Any] | None
    matmulPrecision: str | None
    maxRestarts: int | None
    metrics: Sequence[str | Callable[..., Any]] | None
    minProcs: int | None
    mlflow: str | bool | None
    module: str | torch.nn.Module | type[torch.nn.Module] | Callable[..., torch.nn.Module] | None
    moduleParams: Mapping[str, Any] | None
    numProcs: int | None
    optimizer: str | type | Callable[..., Any] | None
    optimizerParams: Mapping[str, Any] | None
    padMask: bool | None
    padValue: float | None
    precision: str | None
    predictionCol: str | None
    resume: str | None
    seed: int | None
    shuffle: bool | None
    shuffleWindow: int | None
    sparseTensors: bool | None
    startTimeout: float | None
    stepsPerEpoch: int | None
    storageOptions: Mapping[str, Any] | None
    syncBatchNorm: bool | None
    taskResources: Mapping[str, float] | None
    validationFraction: float | None
    validationIndicatorCol: str | None
    verbose: int | None
    weightCol: str | None

class TrainingParams(
    HasInputs,
    HasLabel,
    HasPrediction,
    HasRowRoles,
    HasNetwork,
    HasObjective,
    HasPasses,
    HasOptimization,
    HasArithmetic,
    HasStopping,
    HasDevice,
    HasRanks,
    HasCache,
    HasCheckpoints,
    HasReporting,
):
    def __init__(self, **params: Unpack[_TrainingKeywords]) -> None: ...
    def setParams(self, **params: Unpack[_TrainingKeywords]) -> Self: ...  # type: ignore[override]

class _EstimatorKeywords(_TrainingKeywords, total=False):
    labelCols: Sequence[str] | None
    outputCols: Sequence[str] | None

class EstimatorParams(HasLabels, HasOutputs, TrainingParams):
    def __init__(self, **params: Unpack[_EstimatorKeywords]) -> None: ...
    def setParams(self, **params: Unpack[_EstimatorKeywords]) -> Self: ...  # type: ignore[override]

class _ClassifierKeywords(_TrainingKeywords, total=False):
    classWeights: Sequence[float] | Literal["balanced"] | None
    numClasses: int | None
    probabilityCol: str | None
    rawPredictionCol: str | None
    thresholds: Sequence[float] | None

class ClassifierParams(HasClassColumns, HasClasses, TrainingParams):
    def __init__(self, **params: Unpack[_ClassifierKeywords]) -> None: ...
    def setParams(self, **params: Unpack[_ClassifierKeywords]) -> Self: ...  # type: ignore[override]

class RegressorParams(TrainingParams): ...
