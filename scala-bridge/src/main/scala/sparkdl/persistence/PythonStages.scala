package sparkdl.persistence

import org.apache.hadoop.fs.Path
import org.apache.spark.ml.{Model, Pipeline, PipelineStage}
import org.apache.spark.ml.classification.OneVsRest
import org.apache.spark.ml.param.{Param, ParamMap, Params}
import org.apache.spark.ml.sparkdl.MLInternals
import org.apache.spark.ml.tuning.{CrossValidator, TrainValidationSplit}
import org.apache.spark.sql.SparkSession
import org.json4s.{DefaultFormats, Formats, JObject, JValue}
import org.json4s.jackson.JsonMethods.{compact, render}

/**
 * Reads what pyspark has saved where it holds stages that are written in Python: pyspark then writes pipelines and the
 * like under names of its own, which Spark's readers refuse. All else is read by Spark.
 */
private[sparkdl] class PythonStages(session: SparkSession) {
  private implicit val formats: Formats = DefaultFormats

  def load(path: String): Params = {
    val metadata = SavedStage.metadataOf(session, path)
    val made = (metadata \ "class").extract[String] match {
      case "pyspark.ml.pipeline.PipelineModel" => Some(MLInternals.pipelineModel(uid(metadata), stages(path, metadata)))
      case "pyspark.ml.pipeline.Pipeline" => Some(new Pipeline(uid(metadata)).setStages(stages(path, metadata).toArray))
      case "pyspark.ml.tuning.CrossValidatorModel" =>
        val metrics = (metadata \ "avgMetrics").extract[Seq[Double]]
        Some(MLInternals.crossValidatorModel(uid(metadata), best(path), metrics))
      case "pyspark.ml.tuning.TrainValidationSplitModel" =>
        val metrics = (metadata \ "validationMetrics").extract[Seq[Double]]
        Some(MLInternals.trainValidationSplitModel(uid(metadata), best(path), metrics))
      case "pyspark.ml.tuning.CrossValidator" => Some(new CrossValidator(uid(metadata)))
      case "pyspark.ml.tuning.TrainValidationSplit" => Some(new TrainValidationSplit(uid(metadata)))
      case "pyspark.ml.classification.OneVsRestModel" =>
        val models = 0 until (metadata \ "numClasses").extract[Int]
        Some(MLInternals.oneVsRestModel(uid(metadata), models.map(index => load(under(path, s"model_$index")))))
      case "pyspark.ml.classification.OneVsRest" => Some(new OneVsRest(uid(metadata)))
      case _ => None
    }
    made.foreach(setParams(_, path, metadata))
    made.getOrElse(MLInternals.load(session, path))
  }

  private def uid(metadata: JObject): String = (metadata \ "uid").extract[String]

  private def best(path: String): Model[_] = load(under(path, "bestModel")).asInstanceOf[Model[_]]

  private def stages(path: String, metadata: JObject): Seq[PipelineStage] = {
    val uids = (metadata \ "paramMap" \ "stageUids").extract[Seq[String]]
    val digits = uids.size.toString.length
    uids.zipWithIndex.map { case (uid, index) =>
      load(under(path, "stages", s"%0${digits}d_%s".format(index, uid))).asInstanceOf[PipelineStage]
    }
  }

  /** Sets the Params of a stage of stages; those that are stages themselves lie in folders of their own. */
  private def setParams(stage: Params, path: String, metadata: JObject): Unit = {
    for ((folder, param) <- Seq("estimator" -> "estimator", "evaluator" -> "evaluator", "classifier" -> "classifier")) {
      if (stage.hasParam(param)) stage.set(any(stage, param), load(under(path, folder)))
    }
    val saved = metadata \ "paramMap"
    saved match {
      case JObject(values) =>
        for ((name, value) <- values if stage.hasParam(name) && !PythonStages.Own.contains(name)) {
          stage.set(any(stage, name), any(stage, name).jsonDecode(compact(render(value))))
        }
      case _ =>
    }
    if (stage.hasParam("estimatorParamMaps")) {
      val estimator = stage.get(any(stage, "estimator")).get.asInstanceOf[Params]
      val grid = (saved \ "estimatorParamMaps").children.map(paramMap(estimator, path, _))
      stage.set(any(stage, "estimatorParamMaps"), grid.toArray)
    }
  }

  private def paramMap(estimator: Params, path: String, values: JValue): ParamMap = {
    val owners = nested(estimator).map(owner => owner.uid -> owner).toMap
    val map = ParamMap.empty
    for (each <- values.children) {
      val param = any(owners((each \ "parent").extract[String]), (each \ "name").extract[String])
      val text = (each \ "value").extract[String]
      val isJson = (each \ "isJson").extractOpt[Boolean].getOrElse(true)
      map.put(param, if (isJson) param.jsonDecode(text) else load(under(path, text)))
    }
    map
  }

  private def nested(stage: Params): Seq[Params] = stage match {
    case pipeline: Pipeline => pipeline +: pipeline.getStages.toSeq.flatMap(nested)
    case other => Seq(other)
  }

  private def any(stage: Params, name: String): Param[Any] = stage.getParam(name).asInstanceOf[Param[Any]]

  private def under(path: String, names: String*): String = names.foldLeft(new Path(path))(new Path(_, _)).toString
}

private[sparkdl] object PythonStages {
  private val Own = Set("stages", "estimator", "evaluator", "classifier", "estimatorParamMaps")
}
