package sparkdl

import org.apache.spark.ml.{PipelineModel, PipelineStage}
import org.apache.spark.sql.SparkSession

import sparkdl.persistence.PythonStages

/** Loads what was saved, by Scala or by Python. */
object SparkDL {

  /**
   * Loads any stage of Spark ML: a model, an estimator, a pipeline of them, a search, saved by either language.
   *
   * `PipelineModel.load` reads what Scala has saved; it refuses a pipeline of Python's that holds one of our stages.
   *
   * @return
   *   the stage, of the class that was saved: `SparkDL.load(path).asInstanceOf[CrossValidatorModel]`
   */
  def load(path: String): PipelineStage = new PythonStages(SparkSession.active).load(path).asInstanceOf[PipelineStage]

  /** Loads a pipeline that was fitted and saved, by Scala or by Python. */
  def loadPipeline(path: String): PipelineModel = load(path) match {
    case model: PipelineModel => model
    case other => throw new SparkDLException(s"$path: it holds a ${other.getClass.getName}, not a PipelineModel")
  }
}
