package sparkdl.persistence

import org.apache.spark.ml.param.{Param, ParamPair, Params}
import org.json4s.{JObject, JValue}
import org.json4s.jackson.JsonMethods.{compact, parse, render}

import sparkdl.SparkDLException

/** The Params of a stage as JSON and back. */
private[sparkdl] object StageParams {

  /** `paramMap` of the metadata: what has been set. */
  def toJson(stage: Params): JObject = JObject(
    stage
      .extractParamMap()
      .toSeq
      .toList
      .filter(pair => stage.isSet(pair.param))
      .sortBy(_.param.name)
      .map(field)
  )

  /** `defaultParamMap` of the metadata. */
  def defaultsToJson(stage: Params): JObject = JObject(
    stage.params.toList.flatMap(param => stage.getDefault(param).map(value => field(ParamPair(any(param), value))))
  )

  /** Sets the Params of a stage that was saved. */
  def set(stage: Params, saved: SavedStage, path: String): Unit = {
    for ((name, value) <- saved.params.toSeq.sortBy(_._1)) {
      if (!stage.hasParam(name)) {
        throw new SparkDLException(
          s"$path: ${stage.getClass.getSimpleName} has no Param '$name', the saved one has: load it with the sparkdl " +
            "that wrote it, or a later one"
        )
      }
      val param = any(stage.getParam(name))
      stage.set(param, decoded(param, value, path))
    }
  }

  private def field(pair: ParamPair[_]): (String, JValue) = {
    val text = any(pair.param).jsonEncode(pair.value)
    // A bare text is JSON too, but not a document of its own for every parser.
    pair.param.name -> Names.toPython(pair.param.name, parse(s"[$text]").children.head)
  }

  private def decoded(param: Param[Any], value: JValue, path: String): Any =
    try param.jsonDecode(compact(render(value)))
    catch {
      case error: Exception =>
        throw new SparkDLException(s"$path: its Param ${param.name} cannot be read: ${error.getMessage}", error)
    }

  private def any(param: Param[_]): Param[Any] = param.asInstanceOf[Param[Any]]
}
