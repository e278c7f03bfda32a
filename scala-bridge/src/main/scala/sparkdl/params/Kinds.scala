package sparkdl.params

import org.json4s.{JArray, JBool, JDecimal, JDouble, JInt, JLong, JObject, JString, JValue}

/** What the Params take, by the names and with the meaning of `sparkdl/params/kinds.py`. */
private[sparkdl] object Kinds {
  def whole(minimum: Int = Int.MinValue): Int => Boolean = _ >= minimum

  def whole(minimum: Int, besides: Int): Int => Boolean = value => value >= minimum || value == besides

  def level(highest: Int): Int => Boolean = value => value >= 0 && value <= highest

  def number(
      above: Double = Double.NegativeInfinity,
      minimum: Double = Double.NegativeInfinity,
      below: Double = Double.PositiveInfinity
  ): Double => Boolean =
    value => value > above && value >= minimum && value < below // none of them is true of NaN

  def text(mayBeEmpty: Boolean): String => Boolean = value => value != null && (mayBeEmpty || value.nonEmpty)

  def choice(choices: String*): String => Boolean = choices.contains(_)

  def switch: String => Boolean = choice("auto", "true", "false")

  def columns(mayBeEmpty: Boolean): Array[String] => Boolean = names => {
    val filled = names.filterNot(_ == "")
    names.nonEmpty && names.forall(text(mayBeEmpty)) && filled.distinct.length == filled.length
  }

  def numbers(minimum: Double = Double.NegativeInfinity): Array[Double] => Boolean =
    _.forall(number(minimum = minimum))

  def options: JValue => Boolean = _.isInstanceOf[JObject]

  def flagOrOptions: JValue => Boolean = value => value.isInstanceOf[JBool] || options(value)

  def amounts: JValue => Boolean = {
    case JObject(fields) => fields.forall(field => numberIn(field._2).exists(number(above = 0.0)))
    case _ => false
  }

  def words: JValue => Boolean = {
    case JObject(fields) => fields.forall { case (_, word) => word != JString("") && word.isInstanceOf[JString] }
    case _ => false
  }

  def optionsForEach: JValue => Boolean = value => options(value) || each(options)(value)

  /** A name, or what Python has saved of an object: a network beside the stage, a class, a function, a callback. */
  def named: JValue => Boolean = {
    case JString(name) => name.nonEmpty
    case saved: JObject => saved.obj.exists(_._1 == "$")
    case _ => false
  }

  def namedOrEach: JValue => Boolean = value => named(value) || each(named)(value)

  def namedList: JValue => Boolean = namedOrEach

  def classWeights: JValue => Boolean = {
    case JString(word) => word == "balanced"
    case JArray(items) =>
      val weights = items.map(numberIn)
      weights.forall(_.exists(number(minimum = 0.0))) && weights.exists(_.exists(_ > 0))
    case _ => false
  }

  /** The JVM has no instances: names, or what Python has saved of them. */
  def callbacks: JValue => Boolean = each(named)

  private def each(accepts: JValue => Boolean): JValue => Boolean = {
    case JArray(items) => items.forall(accepts)
    case _ => false
  }

  private def numberIn(value: JValue): Option[Double] = value match {
    case JInt(whole) => Some(whole.toDouble)
    case JLong(whole) => Some(whole.toDouble)
    case JDouble(number) => Some(number)
    case JDecimal(number) => Some(number.toDouble)
    case _ => None
  }
}
