package sparkdl.connect

import java.util.Optional

import org.apache.spark.sql.connect.plugin.MLBackendPlugin

/**
 * Makes a Spark Connect server know the stages of thin clients: `--conf
 * spark.connect.ml.backend.classes=sparkdl.connect.SparkDLPlugin`.
 *
 * Spark's clients ask for a stage by the name of their own class, which is `sparkdl.connect.TorchClassifier`; the
 * server has `sparkdl.TorchClassifier`. A short name, `TorchClassifier`, stands for the same.
 */
class SparkDLPlugin extends MLBackendPlugin {
  override def transform(name: String): Optional[String] = {
    val short = name.stripPrefix(SparkDLPlugin.Client)
    if (SparkDLPlugin.Stages.contains(short)) Optional.of(s"sparkdl.$short") else Optional.empty()
  }
}

private[connect] object SparkDLPlugin {
  val Client = "sparkdl.connect."

  val Stages: Set[String] = Set(
    "TorchClassifier",
    "TorchClassificationModel",
    "TorchEstimator",
    "TorchModel",
    "TorchRegressor",
    "TorchRegressionModel"
  )
}
