package sparkdl

import java.util.Properties

import scala.util.Using

/** Which Spark this jar is built for; the bridge touches its private API, so another minor version cannot run it. */
private[sparkdl] object SparkVersion {

  private val build: Properties = {
    val properties = new Properties()
    Using.resource(getClass.getResourceAsStream("build.properties"))(properties.load)
    properties
  }

  /** The version of sparkdl. */
  val sparkdl: String = build.getProperty("version")

  /** The minor version of Spark, as in "4.2". */
  val built: String = build.getProperty("spark.minor")

  /** Refuses a Spark of another minor version, by its full version: "4.1.1". */
  def check(running: String): Unit = {
    val minor = running.split("[.-]").take(2).mkString(".")
    if (minor != built)
      throw new SparkDLException(
        s"this jar of sparkdl is built for Spark $built, and this is Spark $running: use ${artifact(minor)}"
      )
  }

  private def artifact(minor: String): String = s"sparkdl-spark-${minor}_${build.getProperty("scala.binary")}"
}
