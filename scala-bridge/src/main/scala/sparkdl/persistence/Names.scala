package sparkdl.persistence

import org.json4s.{JArray, JObject, JString, JValue}
import org.json4s.JsonDSL._

/**
 * Classes and functions of the user's Python modules, as values of Params: typed as "package.module:Name", and saved as
 * Python saves them.
 */
private[sparkdl] object Names {
  private val params = Set("module", "loss", "optimizer", "lrSchedule", "metrics", "callbacks")
  private val pattern = """[A-Za-z_][\w.]*:[A-Za-z_][\w.]*""".r

  /** The value of a Param as Python reads it. */
  def toPython(param: String, value: JValue): JValue = value match {
    case JString(name) if params.contains(param) && pattern.matches(name) =>
      if (param == "callbacks") ("$" -> "callback") ~ ("class" -> name) ~ ("state" -> JObject())
      else ("$" -> "object") ~ ("v" -> name)
    case JArray(values) if params.contains(param) => JArray(values.map(toPython(param, _)))
    case other => other
  }

  /** The names in a value that `toPython` or Python has written. */
  def of(value: JValue): Seq[String] = value match {
    case JObject(fields) =>
      val known = fields.toMap
      val own = (known.get("$"), known.get("v"), known.get("class")) match {
        case (Some(JString("object")), Some(JString(name)), _) => Seq(name)
        case (Some(JString("callback")), _, Some(JString(name))) => Seq(name)
        case _ => Nil
      }
      own ++ fields.flatMap(field => of(field._2))
    case JArray(values) => values.flatMap(of)
    case _ => Nil
  }

  /** The module of a name. */
  def moduleOf(name: String): String = name.takeWhile(_ != ':')
}
