package sparkdl

import org.apache.spark.ml.Model
import org.apache.spark.ml.param.ParamMap
import org.apache.spark.ml.util.{Identifiable, MLReadable, MLReader}
import org.apache.spark.sql.{DataFrame, Dataset}
import org.apache.spark.sql.types.StructType

import sparkdl.params.TorchModelSetters
import sparkdl.scoring.{GenericHead, Head}

/** The model of [[TorchEstimator]]: each output of the network is a column, named by predictionCol or outputCols. */
class TorchModel(override val uid: String) extends Model[TorchModel] with NetworkModel with TorchModelSetters {
  def this() = this(Identifiable.randomUID("TorchModel"))

  private[sparkdl] def head: Head =
    GenericHead(if (isSet(outputCols)) getOutputCols.toSeq else Seq(getPredictionCol), outputShapes)

  override def transform(dataset: Dataset[_]): DataFrame = addColumns(dataset)

  override def transformSchema(schema: StructType): StructType = addFields(schema)

  override def estimatedSize: Long = bytes

  override def copy(extra: ParamMap): TorchModel = shareWith(defaultCopy[TorchModel](extra)).setParent(parent)
}

object TorchModel extends MLReadable[TorchModel] {
  override def read: MLReader[TorchModel] = new NetworkModelReader("sparkdl.TorchModel", new TorchModel(_))

  override def load(path: String): TorchModel = super.load(path)
}
