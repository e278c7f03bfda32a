"""Which columns go in, what is learned from, and what is added."""

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

from sparkdl.params import kinds
from sparkdl.params.setting import Setting, Settings


class HasInputs(Settings, HasFeaturesCol, HasInputCols):
    """The columns that go into the network: one of three ways to name them."""

    featuresCol = Setting(kinds.column(), "features", "column that is the network's one input")
    featuresCols = Setting(
        kinds.columns(), None, "scalar columns that are stacked into one (n, k) input; instead of featuresCol"
    )
    inputCols = Setting(
        kinds.columns(), None, "one column for each input of the network, in its order; instead of featuresCol"
    )


class HasLabel(Settings, HasLabelCol):
    """The column that is learned."""

    labelCol = Setting(kinds.column(), "label", "column that is learned")


class HasLabels(HasLabel):
    """The columns that are learned."""

    labelCols = Setting(
        kinds.columns(), None, "one column for each output of the network, in its order; instead of labelCol"
    )


class HasPrediction(Settings, HasPredictionCol):
    """The column that is added."""

    predictionCol = Setting(
        kinds.column(may_be_empty=True), "prediction", 'column that holds the prediction; "" leaves it out'
    )


class HasOutputs(HasPrediction, HasOutputCols):
    """The columns that are added."""

    outputCols = Setting(
        kinds.columns(may_be_empty=True),
        None,
        'one column for each output of the network, in its order; "" leaves one out; instead of predictionCol',
    )


class HasRowRoles(Settings, HasWeightCol, HasValidationIndicatorCol):
    """Columns that say what a row counts for."""

    weightCol = Setting(
        kinds.column(may_be_empty=True),
        None,
        "column with the weight of each row in every loss: 2 equals the row twice, 0 equals no row",
    )
    validationIndicatorCol = Setting(
        kinds.column(), None, "boolean column: true for the rows that are only measured, not learned from"
    )
    validationFraction = Setting(
        kinds.number(minimum=0.0, below=1.0), 0.0, "seeded share of the rows that are only measured"
    )


class HasClassColumns(Settings, HasRawPredictionCol, HasProbabilityCol, HasThresholds):
    """The columns that a classifier adds beside the prediction, and how the prediction follows from them."""

    rawPredictionCol = Setting(
        kinds.column(may_be_empty=True),
        "rawPrediction",
        'column that holds a vector of one raw value for each class; "" leaves it out',
    )
    probabilityCol = Setting(
        kinds.column(may_be_empty=True),
        "probability",
        'column that holds a vector of the probability of each class; "" leaves it out',
    )
    thresholds = Setting(
        kinds.thresholds(),
        None,
        "one for each class: the class with the largest probability divided by its threshold is predicted",
    )
