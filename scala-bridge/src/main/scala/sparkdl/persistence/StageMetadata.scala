package sparkdl.persistence

import org.apache.spark.SPARK_VERSION
import org.apache.spark.ml.param.Params
import org.json4s.{JObject, JValue}
import org.json4s.JsonDSL._

import sparkdl.SparkVersion

/** The metadata of a stage that is saved here, in the form that Python writes. */
private[sparkdl] object StageMetadata {
  def of(stage: Params, added: Seq[(String, JValue)]): JObject = {
    val metadata: JObject = ("class" -> stage.getClass.getName) ~ ("timestamp" -> System.currentTimeMillis()) ~
      ("sparkVersion" -> SPARK_VERSION) ~ ("uid" -> stage.uid) ~ ("paramMap" -> StageParams.toJson(stage)) ~
      ("defaultParamMap" -> StageParams.defaultsToJson(stage)) ~ ("formatVersion" -> SavedStage.FormatVersion) ~
      ("sparkdlVersion" -> SparkVersion.sparkdl) ~ ("language" -> "Scala")
    JObject(metadata.obj ++ added)
  }
}
