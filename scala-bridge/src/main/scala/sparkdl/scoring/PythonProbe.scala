package sparkdl.scoring

import java.io.IOException
import java.util.concurrent.TimeUnit

import scala.io.Source

import org.apache.spark.SparkContext
import org.apache.spark.sql.sparkdl.SparkInternals
import org.json4s.{DefaultFormats, Formats}

import sparkdl.SparkDLException

/** Asks the Python of the executors for its version and packages, so that what is missing is said before a job. */
private[sparkdl] object PythonProbe {
  private implicit val formats: Formats = DefaultFormats
  private val patience = 120L
  private val program =
    """import importlib.util, json, sys
      |missing = [name for name in ("pyspark", "sparkdl", "torch", "pyarrow", "numpy") if importlib.util.find_spec(name) is None]
      |if "sparkdl" not in missing and importlib.util.find_spec("sparkdl.bridge") is None:
      |    missing.append("sparkdl.bridge")
      |print(json.dumps({"version": "%d.%d" % sys.version_info[:2], "missing": missing}))
      |""".stripMargin

  /** What is known of a Python. */
  case class Found(version: String)

  /** Runs the program by an executor's Python, in a job of one task. */
  def ask(context: SparkContext, python: String): Found = {
    val path = context.getConf.getOption("spark.executorEnv.PYTHONPATH").getOrElse("")
    val answer = context.parallelize(Seq(python -> path), 1).map { case (name, more) => run(name, more) }.first()
    checked(s"spark.pyspark.python='$python'", "an executor", answer)
  }

  /** The same of the Python beside the driver. */
  def here(python: String): Found =
    checked(s"spark.pyspark.driver.python='$python'", "the driver", run(python, ""))

  private def checked(setting: String, by: String, answer: Either[String, String]): Found = answer match {
    case Left(said) =>
      throw new SparkDLException(
        s"$setting cannot be run by $by ($said): set it to the Python that has sparkdl installed"
      )
    case Right(text) => complete(setting, text)
  }

  private def complete(setting: String, text: String): Found = {
    val facts = Field.value(text)
    val missing = (facts \ "missing").extract[Seq[String]]
    if (missing.contains("sparkdl.bridge") || missing.contains("sparkdl")) {
      throw new SparkDLException(
        s"the Python of $setting has no sparkdl-torch of this version: install it there, or set it to the Python that has it"
      )
    }
    if (missing.nonEmpty) {
      throw new SparkDLException(
        s"the Python of $setting lacks ${missing.mkString(", ")}: install sparkdl-torch there anew"
      )
    }
    Found((facts \ "version").extract[String])
  }

  private def run(python: String, path: String): Either[String, String] = {
    val builder = new ProcessBuilder(python, "-c", program)
    val paths = Seq(SparkInternals.pythonPath(), path).filter(_.nonEmpty)
    builder.environment.put("PYTHONPATH", paths.mkString(java.io.File.pathSeparator))
    builder.redirectError(ProcessBuilder.Redirect.INHERIT)
    try {
      val process = builder.start()
      process.getOutputStream.close()
      val timer = new Thread(() => if (!process.waitFor(patience, TimeUnit.SECONDS)) process.destroy())
      timer.setDaemon(true)
      timer.start()
      val text = Source.fromInputStream(process.getInputStream, "UTF-8").mkString.trim
      if (process.waitFor() == 0) Right(text.linesIterator.toSeq.last) else Left(s"exit code ${process.exitValue}")
    } catch {
      case error: IOException => Left(error.getMessage)
    }
  }
}
