package sparkdl

import org.apache.spark.ml.classification.ProbabilisticClassificationModel
import org.apache.spark.ml.linalg.Vector
import org.apache.spark.ml.param.ParamMap
import org.apache.spark.ml.util.{Identifiable, MLReadable, MLReader}
import org.apache.spark.sql.{DataFrame, Dataset}
import org.apache.spark.sql.types.StructType
import org.json4s.{DefaultFormats, Formats}

import sparkdl.params.TorchClassificationModelSetters
import sparkdl.scoring.{ClassificationHead, Head}

/**
 * The model of [[TorchClassifier]]: it adds `rawPredictionCol` and `probabilityCol`, vectors with one number for each
 * class, and `predictionCol`, the index of a class. With two classes rawPrediction is [-m, m], as LogisticRegression's.
 */
class TorchClassificationModel(override val uid: String)
    extends ProbabilisticClassificationModel[Vector, TorchClassificationModel]
    with NetworkModel
    with TorchClassificationModelSetters {
  private implicit val formats: Formats = DefaultFormats

  def this() = this(Identifiable.randomUID("TorchClassificationModel"))

  override def numClasses: Int = extra("num_classes").extract[Int]

  override def numFeatures: Int = super[NetworkModel].numFeatures

  private[sparkdl] override def sizes: Seq[(String, Int)] =
    super.sizes ++ super.sizes.headOption.map(_ => "numClasses" -> numClasses)

  private[sparkdl] def head: Head = {
    val limits = if (isSet(thresholds)) Some(getThresholds.toSeq) else None
    for (given <- limits if given.size != numClasses) {
      throw new SparkDLException(
        s"thresholds has ${given.size} entries for $numClasses classes: give one for each, in order"
      )
    }
    val labels = extra("labels").extractOpt[Seq[String]].getOrElse(Nil)
    ClassificationHead(getRawPredictionCol, getProbabilityCol, getPredictionCol, numClasses, limits, labels)
  }

  override def transform(dataset: Dataset[_]): DataFrame = addColumns(dataset)

  override def transformSchema(schema: StructType): StructType = addFields(schema)

  /** Not offered: the network runs in Python workers, on DataFrames. */
  override def predictRaw(features: Vector): Vector = throw RowByRow.refused(this)

  override protected def raw2probabilityInPlace(rawPrediction: Vector): Vector = throw RowByRow.refused(this)

  override def estimatedSize: Long = bytes

  override def copy(extra: ParamMap): TorchClassificationModel =
    shareWith(defaultCopy[TorchClassificationModel](extra)).setParent(parent)
}

object TorchClassificationModel extends MLReadable[TorchClassificationModel] {
  override def read: MLReader[TorchClassificationModel] =
    new NetworkModelReader("sparkdl.TorchClassificationModel", new TorchClassificationModel(_))

  override def load(path: String): TorchClassificationModel = super.load(path)
}
