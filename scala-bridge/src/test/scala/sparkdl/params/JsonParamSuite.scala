package sparkdl.params

import java.util.{Arrays, Collections, LinkedHashMap}

import scala.collection.immutable.ListMap
import scala.util.{Random, Try}

import org.apache.spark.ml.util.Identifiable
import org.json4s.{JArray, JBool, JDouble, JInt, JNull, JObject, JString, JValue}
import org.json4s.jackson.JsonMethods.{compact, render}
import org.scalatest.funsuite.AnyFunSuite

/** The text of a JSON value, what is saved of it, and what cannot be one. */
class JsonParamSuite extends AnyFunSuite {
  private val stage = new Identifiable { override val uid = "stage" }
  private val param = new JsonParam(stage, "moduleParams", "doc", "a value", _ => true)

  private val texts = Seq(
    "mlp" -> "\"mlp\"",
    "mypkg.nets:Net" -> "\"mypkg.nets:Net\"",
    "" -> "\"\"",
    "  " -> "\"  \"",
    "\"mlp\"" -> "\"mlp\"",
    "\"5\"" -> "\"5\"",
    "5" -> "5",
    "-1.5" -> "-1.5",
    "007" -> "\"007\"",
    "1e-3" -> "0.001",
    "3 layers" -> "\"3 layers\"",
    "1, 2" -> "\"1, 2\"",
    "true" -> "true",
    "True" -> "\"True\"",
    "null" -> "\"null\"",
    "NaN" -> "\"NaN\"",
    " {\"a\" : [1, null, {}]} " -> "{\"a\":[1,null,{}]}",
    "[]" -> "[]",
    "größe 😀" -> "\"größe 😀\"",
    "a\"b" -> "\"a\\\"b\""
  )

  for ((text, json) <- texts) test(s"'$text' is saved as $json") {
    assert(param.jsonEncode(text) == json)
    assert(param.jsonEncode(param.jsonDecode(json)) == json)
  }

  test("a word is read without quotes, what could be taken for something else with them") {
    assert(param.jsonDecode("\"mlp\"") == "mlp")
    for (word <- Seq("5", "true", "[1]", "{", "\\\"quoted\\\"")) {
      assert(param.jsonDecode("\"" + word + "\"") == "\"" + word + "\"")
    }
    assert(param.jsonDecode("{\"a\": 1}") == "{\"a\":1}")
    for (json <- Seq("null", "mlp")) intercept[IllegalArgumentException](param.jsonDecode(json))
  }

  test("any JSON comes back as it was") {
    val random = new Random(7)
    for (_ <- 1 to 2000) {
      val json = compact(render(anyJson(random, 3)))
      val text = param.jsonDecode(json)

      assert(param.jsonEncode(text) == json, text)
      assert(param.isValid(text), text)
    }
  }

  test("any text is some value, but for a bracket that opens no JSON") {
    val random = new Random(8)
    for (_ <- 1 to 2000) {
      val text = Seq.fill(random.nextInt(6))("{[\"]}: ,1a\\n".charAt(random.nextInt(12))).mkString
      val bracket = text.trim.startsWith("{") || text.trim.startsWith("[")

      if (!bracket || Try(param.isValid(text)).isSuccess) {
        val json = param.jsonEncode(text)
        assert(param.jsonEncode(param.jsonDecode(json)) == json, text)
      }
    }
  }

  for (text <- Seq("{", "[1, 2", "{a: 1}", "{'a': 1}", " [1] 2", "{\"a\": NaN}")) test(s"'$text' is refused") {
    val message = intercept[IllegalArgumentException](param.w(text)).getMessage
    assert(message == s"invalid moduleParams=$text: expected a value, written as JSON")
  }

  test("what is JSON and of another kind is refused") {
    val options = new JsonParam(stage, "moduleParams", "doc", "a dict", Kinds.options)
    val message = intercept[IllegalArgumentException](options.w("[1]")).getMessage
    assert(message == "invalid moduleParams=[1]: expected a dict")
    intercept[IllegalArgumentException](options.w(null))
  }

  test("values of Scala become text") {
    val value = ListMap[String, Any](
      "a" -> Seq[Any](1, 2L, 3.toShort, BigInt(2).pow(70)),
      "b" -> Array[Any](0.1f, 1.5),
      "c" -> Some(Map("d" -> None)),
      "e" -> Array(1, 2),
      "f" -> null,
      "g" -> true
    )
    val json = """{"a":[1,2,3,1180591620717411303424],"b":[0.1,1.5],"c":{"d":null},"e":[1,2],"f":null,"g":true}"""

    assert(param.textOf(value) == json)
    assert(param.textOf("mlp") == "mlp")
    assert(param.textOf("5") == "\"5\"")
    assert(param.textOf(BigDecimal("0.25")) == "0.25")
  }

  test("values of Java become text") {
    val map = new LinkedHashMap[String, Any]()
    map.put("hidden", Arrays.asList(64, 32))
    map.put("options", Collections.singletonMap("bias", java.lang.Boolean.TRUE))
    map.put("rate", java.math.BigDecimal.valueOf(0.5))

    assert(param.textOf(map) == """{"hidden":[64,32],"options":{"bias":true},"rate":0.5}""")
  }

  private val noJson = Seq[(Any, String)](
    new Object -> "java.lang.Object",
    Map(1 -> 2) -> "the key 1",
    Seq(Map("a" -> new java.util.Date(0))) -> "java.util.Date",
    Double.NaN -> "NaN",
    Seq(Float.PositiveInfinity) -> "Infinity"
  )

  for ((value, named) <- noJson) test(s"what is no JSON is refused: $named") {
    val message = intercept[IllegalArgumentException](param.textOf(value)).getMessage
    assert(message.startsWith("invalid moduleParams: ") && message.contains(named), message)
  }

  private def anyJson(random: Random, depth: Int): JValue = random.nextInt(if (depth == 0) 5 else 7) match {
    case 0 => JString(random.nextString(random.nextInt(6)).replaceAll("[\\uD800-\\uDFFF]", "\u00e9"))
    case 1 => JString(Seq("5", "true", "null", "{}", "[", "\"x\"", " 1 ", "mlp", "1e5")(random.nextInt(9)))
    case 2 => JInt(BigInt(80, random) - BigInt(2).pow(79))
    case 3 => JDouble(random.nextGaussian() * math.pow(10, random.nextInt(40) - 20))
    case 4 => JBool(random.nextBoolean())
    case 5 => JArray(List.fill(random.nextInt(4))(inner(random, depth)))
    case _ => JObject(List.tabulate(random.nextInt(4))(i => s"k$i" -> inner(random, depth)))
  }

  private def inner(random: Random, depth: Int): JValue =
    if (random.nextInt(8) == 0) JNull else anyJson(random, depth - 1)
}
