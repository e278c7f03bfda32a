package sparkdl.scoring

import org.json4s.{DefaultFormats, Formats, JValue}
import org.json4s.JsonDSL._
import org.json4s.jackson.JsonMethods.{compact, parse, render}

/**
 * One tensor of a row, as `sparkdl.schema.Field` in Python, where each part is explained.
 */
private[sparkdl] case class Field(
    name: String,
    role: String,
    kind: String,
    columns: Seq[String],
    dtype: String,
    shape: Seq[Int],
    types: Seq[String],
    entries: Option[Int],
    sparse: Boolean
) {

  /** Elements of one row. */
  def size: Int = shape.product

  def toJson: JValue =
    ("name" -> name) ~ ("role" -> role) ~ ("kind" -> kind) ~ ("columns" -> columns) ~ ("dtype" -> dtype) ~
      ("shape" -> shape) ~ ("types" -> types) ~ ("entries" -> entries) ~ ("sparse" -> sparse)
}

private[sparkdl] object Field {
  private implicit val formats: Formats = DefaultFormats

  /** The field that `toJson` or Python has written. */
  def fromJson(value: JValue): Field = Field(
    (value \ "name").extract[String],
    (value \ "role").extract[String],
    (value \ "kind").extract[String],
    (value \ "columns").extract[Seq[String]],
    (value \ "dtype").extract[String],
    (value \ "shape").extract[Seq[Int]],
    (value \ "types").extractOpt[Seq[String]].getOrElse(Nil),
    (value \ "entries").extractOpt[Int],
    (value \ "sparse").extractOpt[Boolean].getOrElse(false)
  )

  /** The text of a JSON value, on one line. */
  def text(value: JValue): String = compact(render(value))

  /** The JSON value of a text. */
  def value(text: String): JValue = parse(text)
}
