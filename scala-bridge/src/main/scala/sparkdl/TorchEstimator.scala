package sparkdl

import org.apache.spark.ml.Estimator
import org.apache.spark.ml.param.ParamMap
import org.apache.spark.ml.util.{Identifiable, MLReadable, MLReader}
import org.apache.spark.sql.Dataset
import org.apache.spark.sql.types.StructType

import sparkdl.params.TorchEstimatorSetters

/**
 * Trains any network by any loss, on several ranks; with several inputs and labels if there are.
 *
 * The fit runs in a Python process beside this JVM, on the same session and DataFrame.
 */
class TorchEstimator(override val uid: String)
    extends Estimator[TorchModel]
    with TrainingStage
    with TorchEstimatorSetters {
  def this() = this(Identifiable.randomUID("TorchEstimator"))

  override def fit(dataset: Dataset[_]): TorchModel = {
    val (made, imports) = trained(dataset)
    NetworkModel.fitted(new TorchModel(uid), made, imports).setParent(this)
  }

  override def transformSchema(schema: StructType): StructType = foreseen(schema)

  override def copy(extra: ParamMap): TorchEstimator = shareWith(defaultCopy[TorchEstimator](extra))
}

object TorchEstimator extends MLReadable[TorchEstimator] {
  override def read: MLReader[TorchEstimator] = new TrainingStageReader("sparkdl.TorchEstimator", new TorchEstimator(_))

  override def load(path: String): TorchEstimator = super.load(path)
}
