"""Which Params each estimator has."""

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
    """What all estimators have."""


class EstimatorParams(HasLabels, HasOutputs, TrainingParams):
    """TorchEstimator's Params."""


class ClassifierParams(HasClassColumns, HasClasses, TrainingParams):
    """TorchClassifier's Params."""


class RegressorParams(TrainingParams):
    """TorchRegressor's Params."""
