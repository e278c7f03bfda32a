package sparkdl.scoring

import java.nio.charset.StandardCharsets.{ISO_8859_1, UTF_8}
import java.util.{Base64, Collections}
import java.util.concurrent.ConcurrentHashMap

import scala.jdk.CollectionConverters._

import org.apache.spark.SparkContext
import org.apache.spark.sql.{classic, functions => F, Column, SparkSession}
import org.apache.spark.sql.sparkdl.SparkInternals
import org.apache.spark.sql.types.{DataType, StringType}
import org.json4s.{DefaultFormats, Formats, JObject, JValue}
import org.json4s.JsonDSL._

import sparkdl.SparkDLException

/** Functions of the Python package, as Spark's own Python workers run them. No code of a user's travels with them. */
private[sparkdl] object PythonWorkers {
  private implicit val formats: Formats = DefaultFormats

  /** Modules of the user's that define the networks of saved models; workers import them before they load one. */
  val Imports = "spark.sparkdl.imports"

  private val score = "sparkdl.bridge.scoring\nscorer"
  private val describe = "sparkdl.bridge.scoring\ndescriber"
  private val probes = new ConcurrentHashMap[String, PythonProbe.Found]

  /** The function of columns that scores by a plan. */
  def scorer(session: classic.SparkSession, plan: JObject, returned: DataType): Seq[Column] => Column =
    function(session, "score", score, withImports(session, plan), returned)

  /** The shape of one row of what inner layers of a network return, by their names. */
  def layerShapes(session: classic.SparkSession, question: JObject): Map[String, Seq[Int]] = {
    val asked = function(session, "describe", describe, withImports(session, question), StringType)
    val answer = Field.value(session.range(1).select(asked(Seq(F.col("id")))).head().getString(0))
    (answer \ "error").extractOpt[String].foreach(said => throw new SparkDLException(said))
    (answer \ "shapes").extract[Map[String, Seq[Int]]]
  }

  /** The Python of Spark's workers, by Spark's own settings. */
  def executable(context: SparkContext): String =
    context.getConf
      .getOption("spark.pyspark.python")
      .orElse(sys.env.get("PYSPARK_PYTHON"))
      .getOrElse("python3")

  /** The modules that a session's settings name. */
  def imports(session: SparkSession): Seq[String] = {
    val named = session.conf.getOption(Imports).orElse(session.sparkContext.getConf.getOption(Imports))
    named.toSeq.flatMap(_.split(",")).map(_.trim).filter(_.nonEmpty)
  }

  private def withImports(session: SparkSession, value: JObject): JObject = {
    val own = (value \ "imports").extract[Seq[String]]
    JObject(value.obj.filter(_._1 != "imports")) ~ ("imports" -> (own ++ imports(session)).distinct)
  }

  private def function(
      session: classic.SparkSession,
      name: String,
      global: String,
      argument: JValue,
      returned: DataType
  ): Seq[Column] => Column = {
    val context = session.sparkContext
    val python = executable(context)
    val found = probes.computeIfAbsent(context.applicationId + python, _ => PythonProbe.ask(context, python))
    val files = context.getConf.get("spark.submit.pyFiles", "").split(",").filter(_.nonEmpty)
    val includes = files.map(file => file.substring(file.lastIndexOf('/') + 1)).toSeq.asJava
    SparkInternals.arrowIteratorFunction(
      name,
      pickled(global, Field.text(argument), returned.json),
      returned,
      python,
      found.version,
      Collections.emptyMap(),
      includes
    )
  }

  /**
   * The pair (a function that a call of `global` with `argument` returns, a type), as pickle's protocol 0 writes it.
   */
  private def pickled(global: String, argument: String, returned: String): Array[Byte] = {
    val text = s"(c$global\n(${unicode(argument)}tRcpyspark.sql.types\n_parse_datatype_json_string\n" +
      s"(${unicode(returned)}tRt."
    text.getBytes(ISO_8859_1)
  }

  /** A text that needs no escapes. */
  private def unicode(text: String): String =
    s"cbase64\nb64decode\n(V${Base64.getEncoder.encodeToString(text.getBytes(UTF_8))}\ntR"
}
