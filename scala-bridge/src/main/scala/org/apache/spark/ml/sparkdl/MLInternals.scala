package org.apache.spark.ml.sparkdl

import org.apache.spark.ml.{Model, PipelineModel, PipelineStage, Transformer}
import org.apache.spark.ml.classification.{ClassificationModel, OneVsRestModel}
import org.apache.spark.ml.param.Params
import org.apache.spark.ml.tuning.{CrossValidatorModel, TrainValidationSplitModel}
import org.apache.spark.ml.util.DefaultParamsReader
import org.apache.spark.sql.SparkSession
import org.apache.spark.sql.types.Metadata

/** Constructors of Spark ML that are not public, for models that Python has saved. */
object MLInternals {

  /** Loads a stage by Spark's own reader of its class. */
  def load(session: SparkSession, path: String): Params = DefaultParamsReader.loadParamsInstance[Params](path, session)

  def pipelineModel(uid: String, stages: Seq[PipelineStage]): PipelineModel =
    new PipelineModel(uid, stages.map(_.asInstanceOf[Transformer]).toArray)

  def crossValidatorModel(uid: String, best: Model[_], metrics: Seq[Double]): CrossValidatorModel =
    new CrossValidatorModel(uid, best, metrics.toArray)

  def trainValidationSplitModel(uid: String, best: Model[_], metrics: Seq[Double]): TrainValidationSplitModel =
    new TrainValidationSplitModel(uid, best, metrics.toArray)

  def oneVsRestModel(uid: String, models: Seq[Params]): OneVsRestModel =
    new OneVsRestModel(uid, Metadata.empty, models.map(_.asInstanceOf[ClassificationModel[_, _]]).toArray)
}
