package sparkdl.params

import org.apache.spark.ml.param.{ParamMap, Params}
import org.json4s.{JObject, JValue}
import org.json4s.jackson.JsonMethods.{compact, render}

/** A setting whose value is shown, logged and saved nowhere. */
private[sparkdl] final class Secret(
    val name: String,
    val doc: String,
    val default: String,
    val needs: String,
    val accepts: JValue => Boolean
) extends Serializable

/**
 * Settings that are secret. They are no Params: explainParams, ParamMaps, saved and serialized stages have nothing of
 * them. Copies keep them, so that they hold in CrossValidator and OneVsRest too.
 */
trait HasSecrets extends Params {
  @transient private var secrets: Map[String, String] = Map.empty

  private[sparkdl] final def secretOf(secret: Secret): String = held.getOrElse(secret.name, secret.default)

  private[sparkdl] final def setSecret(secret: Secret, value: Any): this.type = {
    val json = value match {
      case text: String => JsonParam.parsed(text)
      case other => JsonParam.toJson(secret.name, other)
    }
    // The message is shown to people: the value is no part of it.
    if (!secret.accepts(json)) throw new IllegalArgumentException(s"invalid ${secret.name}: expected ${secret.needs}")
    secrets = held + (secret.name -> JsonParam.toText(json))
    this
  }

  /** Those that are set, by name, for the process that needs them. */
  private[sparkdl] final def secretsToJson: String =
    compact(render(JObject(held.toList.sortBy(_._1).map { case (name, text) => name -> JsonParam.parsed(text) })))

  override protected def copyValues[T <: Params](to: T, extra: ParamMap = ParamMap.empty): T = {
    to match {
      case other: HasSecrets => other.secrets = held
      case _ =>
    }
    super.copyValues(to, extra)
  }

  // Null after the stage was serialized.
  private def held: Map[String, String] = Option(secrets).getOrElse(Map.empty)
}
