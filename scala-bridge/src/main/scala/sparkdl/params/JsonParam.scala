package sparkdl.params

import java.lang.{Iterable => JavaIterable}
import java.util.{Map => JavaMap}

import scala.jdk.CollectionConverters._
import scala.util.Try

import com.fasterxml.jackson.databind.{DeserializationFeature, ObjectReader}
import org.apache.spark.ml.param.Param
import org.apache.spark.ml.util.Identifiable
import org.json4s.{JArray, JBool, JDouble, JInt, JNull, JObject, JString, JValue}
import org.json4s.jackson.JsonMethods.{compact, mapper, render}

/**
 * A Param whose value is any JSON, held as its text: `{"hidden": [64, 32]}`. A text that is no JSON is itself: `mlp` is
 * the same as `"mlp"`. What is saved is the JSON itself, as Python writes and reads it.
 *
 * @param needs
 *   What is expected, which ends the sentence of a refusal.
 * @param accepts
 *   Whether a value that is JSON is one of those.
 */
class JsonParam(parent: Identifiable, name: String, doc: String, needs: String, accepts: JValue => Boolean)
    extends Param[String](parent, name, doc, (text: String) => JsonParam.checked(name, needs, accepts, text)) {

  /** The text of a value: Maps, collections and arrays of Scala or Java, numbers, booleans, texts and null. */
  def textOf(value: Any): String = JsonParam.toText(JsonParam.toJson(name, value))

  override def jsonEncode(value: String): String = compact(render(JsonParam.parsed(value)))

  override def jsonDecode(json: String): String = JsonParam.document(json) match {
    case Some(value) if value != JNull => JsonParam.toText(value)
    case _ => throw new IllegalArgumentException(s"invalid $name=$json: expected JSON other than null")
  }
}

private[sparkdl] object JsonParam {
  // Else "3 layers" would be the number 3.
  private val reader: ObjectReader =
    mapper.readerFor(classOf[JValue]).`with`(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)

  /** The value that a text stands for. */
  def parsed(text: String): JValue = document(text) match {
    case Some(JNull) | None => JString(text)
    case Some(value) => value
  }

  /** The text that stands for a value: a string without quotes where it cannot be taken for something else. */
  def toText(value: JValue): String = value match {
    case JString(text) if parsed(text) == value && !opens(text) => text
    case _ => compact(render(value))
  }

  private def document(text: String): Option[JValue] =
    if (text.trim.isEmpty) None else Try(reader.readValue[JValue](text)).toOption

  private def checked(name: String, needs: String, accepts: JValue => Boolean, text: String): Boolean = {
    // A bracket that opens and no JSON behind it is a mistake, never a name.
    if (text == null || (opens(text) && document(text).isEmpty)) {
      throw new IllegalArgumentException(s"invalid $name=$text: expected $needs, written as JSON")
    }
    if (!accepts(parsed(text))) throw new IllegalArgumentException(s"invalid $name=$text: expected $needs")
    true
  }

  private def opens(text: String): Boolean = text.trim.startsWith("{") || text.trim.startsWith("[")

  /** A value of Scala or Java as JSON; `name` is that of its Param. */
  def toJson(name: String, value: Any): JValue = value match {
    case null | None => JNull
    case Some(inner) => toJson(name, inner)
    case text: String => JString(text)
    case flag: Boolean => JBool(flag)
    case whole: BigInt => JInt(whole)
    case whole: java.math.BigInteger => JInt(BigInt(whole))
    case whole @ (_: Byte | _: Short | _: Int | _: Long) => JInt(BigInt(whole.toString))
    case number @ (_: Float | _: Double | _: BigDecimal | _: java.math.BigDecimal) => finite(name, number)
    case map: collection.Map[_, _] => toObject(name, map)
    case map: JavaMap[_, _] => toObject(name, map.asScala)
    case items: Array[_] => toArray(name, items)
    case items: Iterable[_] => toArray(name, items)
    case items: JavaIterable[_] => toArray(name, items.asScala)
    case other => refuse(name, s"a ${other.getClass.getName} is no JSON")
  }

  private def finite(name: String, value: Any): JValue = {
    // By its text a Float keeps the digits that it shows: 0.1f is 0.1.
    val number = value.toString.toDouble
    if (number.isNaN || number.isInfinite) refuse(name, s"$value is no JSON")
    JDouble(number)
  }

  private def toObject(name: String, map: collection.Map[_, _]): JValue = JObject(map.toList.map {
    case (key: String, value) => key -> toJson(name, value)
    case (key, _) => refuse(name, s"the key $key is no text")
  })

  private def toArray(name: String, items: Iterable[_]): JValue = JArray(items.map(toJson(name, _)).toList)

  private def refuse(name: String, why: String): Nothing = throw new IllegalArgumentException(
    s"invalid $name: $why: give texts, numbers, booleans, null, or Maps (with texts as keys) and lists of them"
  )
}
