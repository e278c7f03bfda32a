package sparkdl

import org.apache.spark.ml.linalg.Vector
import org.apache.spark.ml.param.ParamMap
import org.apache.spark.ml.regression.RegressionModel
import org.apache.spark.ml.util.{Identifiable, MLReadable, MLReader}
import org.apache.spark.sql.{DataFrame, Dataset}
import org.apache.spark.sql.types.StructType

import sparkdl.params.TorchRegressionModelSetters
import sparkdl.scoring.{Head, RegressionHead}

/** The model of [[TorchRegressor]]: it adds `predictionCol`, one number for each row. */
class TorchRegressionModel(override val uid: String)
    extends RegressionModel[Vector, TorchRegressionModel]
    with NetworkModel
    with TorchRegressionModelSetters {
  def this() = this(Identifiable.randomUID("TorchRegressionModel"))

  override def numFeatures: Int = super[NetworkModel].numFeatures

  private[sparkdl] def head: Head = RegressionHead(getPredictionCol)

  override def transform(dataset: Dataset[_]): DataFrame = addColumns(dataset)

  override def transformSchema(schema: StructType): StructType = addFields(schema)

  /** Not offered: the network runs in Python workers, on DataFrames. */
  override def predict(features: Vector): Double = throw RowByRow.refused(this)

  override def estimatedSize: Long = bytes

  override def copy(extra: ParamMap): TorchRegressionModel =
    shareWith(defaultCopy[TorchRegressionModel](extra)).setParent(parent)
}

object TorchRegressionModel extends MLReadable[TorchRegressionModel] {
  override def read: MLReader[TorchRegressionModel] =
    new NetworkModelReader("sparkdl.TorchRegressionModel", new TorchRegressionModel(_))

  override def load(path: String): TorchRegressionModel = super.load(path)
}

private[sparkdl] object RowByRow {
  def refused(model: NetworkModel): UnsupportedOperationException = new UnsupportedOperationException(
    s"${model.getClass.getSimpleName} scores DataFrames by transform: the network runs in Spark's Python workers, " +
      "not one row at a time in the JVM"
  )
}
