package sparkdl

import org.apache.spark.ml.classification.ProbabilisticClassifier
import org.apache.spark.ml.linalg.Vector
import org.apache.spark.ml.param.ParamMap
import org.apache.spark.ml.util.{Identifiable, MLReadable, MLReader}
import org.apache.spark.sql.Dataset
import org.apache.spark.sql.types.StructType

import sparkdl.params.TorchClassifierSetters

/**
 * Trains a network that tells classes apart, on several ranks.
 *
 * The fit runs in a Python process beside this JVM, on the same session and DataFrame. Features may be vectors, arrays,
 * images or single numbers; [[org.apache.spark.ml.linalg.Vector]] stands in the type for Spark's own meta-estimators.
 */
class TorchClassifier(override val uid: String)
    extends ProbabilisticClassifier[Vector, TorchClassifier, TorchClassificationModel]
    with TrainingStage
    with TorchClassifierSetters {
  def this() = this(Identifiable.randomUID("TorchClassifier"))

  override def fit(dataset: Dataset[_]): TorchClassificationModel = {
    val (made, imports) = trained(dataset)
    NetworkModel.fitted(new TorchClassificationModel(uid), made, imports).setParent(this)
  }

  /** Not called: `fit` leaves labels and features as they are. */
  override protected def train(dataset: Dataset[_]): TorchClassificationModel = fit(dataset)

  override def transformSchema(schema: StructType): StructType = foreseen(schema)

  override def copy(extra: ParamMap): TorchClassifier = shareWith(defaultCopy[TorchClassifier](extra))
}

object TorchClassifier extends MLReadable[TorchClassifier] {
  override def read: MLReader[TorchClassifier] =
    new TrainingStageReader("sparkdl.TorchClassifier", new TorchClassifier(_))

  override def load(path: String): TorchClassifier = super.load(path)
}
