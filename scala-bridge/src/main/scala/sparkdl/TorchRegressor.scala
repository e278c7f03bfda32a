package sparkdl

import org.apache.spark.ml.linalg.Vector
import org.apache.spark.ml.param.ParamMap
import org.apache.spark.ml.regression.Regressor
import org.apache.spark.ml.util.{Identifiable, MLReadable, MLReader}
import org.apache.spark.sql.Dataset
import org.apache.spark.sql.types.StructType

import sparkdl.params.TorchRegressorSetters

/**
 * Trains a network that predicts a number, on several ranks.
 *
 * The fit runs in a Python process beside this JVM, on the same session and DataFrame.
 */
class TorchRegressor(override val uid: String)
    extends Regressor[Vector, TorchRegressor, TorchRegressionModel]
    with TrainingStage
    with TorchRegressorSetters {
  def this() = this(Identifiable.randomUID("TorchRegressor"))

  override def fit(dataset: Dataset[_]): TorchRegressionModel = {
    val (made, imports) = trained(dataset)
    NetworkModel.fitted(new TorchRegressionModel(uid), made, imports).setParent(this)
  }

  /** Not called: `fit` leaves labels and features as they are. */
  override protected def train(dataset: Dataset[_]): TorchRegressionModel = fit(dataset)

  override def transformSchema(schema: StructType): StructType = foreseen(schema)

  override def copy(extra: ParamMap): TorchRegressor = shareWith(defaultCopy[TorchRegressor](extra))
}

object TorchRegressor extends MLReadable[TorchRegressor] {
  override def read: MLReader[TorchRegressor] = new TrainingStageReader("sparkdl.TorchRegressor", new TorchRegressor(_))

  override def load(path: String): TorchRegressor = super.load(path)
}
