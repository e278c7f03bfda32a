// Made by docs/make_params.py from the declarations in sparkdl/params/columns.py: change those.
package sparkdl.params

import org.apache.spark.ml.param.{DoubleParam, StringArrayParam}
import org.apache.spark.ml.param.shared.{
  HasFeaturesCol,
  HasInputCols,
  HasLabelCol,
  HasOutputCols,
  HasPredictionCol,
  HasProbabilityCol,
  HasRawPredictionCol,
  HasThresholds,
  HasValidationIndicatorCol,
  HasWeightCol
}

/** The columns that go into the network: one of three ways to name them. */
trait HasInputs extends HasFeaturesCol with HasInputCols {

  /** Scalar columns that are stacked into one (n, k) input; instead of featuresCol. */
  final val featuresCols: StringArrayParam = new StringArrayParam(
    this,
    "featuresCols",
    "scalar columns that are stacked into one (n, k) input; instead of featuresCol",
    Kinds.columns(false)
  )

  /** Returns featuresCols: scalar columns that are stacked into one (n, k) input; instead of featuresCol. */
  final def getFeaturesCols: Array[String] = $(featuresCols)

  setDefault(featuresCol -> "features")
}

/** The column that is learned. */
trait HasLabel extends HasLabelCol {

  setDefault(labelCol -> "label")
}

/** The columns that are learned. */
trait HasLabels extends HasLabel {

  /** One column for each output of the network, in its order; instead of labelCol. */
  final val labelCols: StringArrayParam = new StringArrayParam(
    this,
    "labelCols",
    "one column for each output of the network, in its order; instead of labelCol",
    Kinds.columns(false)
  )

  /** Returns labelCols: one column for each output of the network, in its order; instead of labelCol. */
  final def getLabelCols: Array[String] = $(labelCols)
}

/** The column that is added. */
trait HasPrediction extends HasPredictionCol {

  setDefault(predictionCol -> "prediction")
}

/** The columns that are added. */
trait HasOutputs extends HasPrediction with HasOutputCols

/** Columns that say what a row counts for. */
trait HasRowRoles extends HasWeightCol with HasValidationIndicatorCol {

  /** Seeded share of the rows that are only measured. */
  final val validationFraction: DoubleParam = new DoubleParam(
    this,
    "validationFraction",
    "seeded share of the rows that are only measured",
    Kinds.number(minimum = 0.0, below = 1.0)
  )

  /** Returns validationFraction: seeded share of the rows that are only measured. */
  final def getValidationFraction: Double = $(validationFraction)

  setDefault(validationFraction -> 0.0)
}

/** The columns that a classifier adds beside the prediction, and how the prediction follows from them. */
trait HasClassColumns extends HasRawPredictionCol with HasProbabilityCol with HasThresholds {

  setDefault(rawPredictionCol -> "rawPrediction", probabilityCol -> "probability")
}
