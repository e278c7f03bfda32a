package sparkdl

import java.nio.file.{Files, Path}

import org.apache.spark.ml.{Pipeline, PipelineStage}
import org.apache.spark.ml.feature.{StandardScaler, VectorAssembler}
import org.apache.spark.sql.{DataFrame, SparkSession}
import org.scalatest.BeforeAndAfterAll
import org.scalatest.funsuite.AnyFunSuite

/** A suite with Spark's session, which all suites of a run share, and with Python programs beside it. */
abstract class BridgeSuite extends AnyFunSuite with BeforeAndAfterAll {
  protected lazy val spark: SparkSession = BridgeSuite.session
  protected lazy val folder: Path = Files.createTempDirectory("sparkdl-scala")

  override def afterAll(): Unit = {
    if (Files.exists(folder)) TrainingStage.remove(folder)
    super.afterAll()
  }

  protected def path(name: String): String = folder.resolve(name).toString

  /** Rows of three classes that a straight line does not tell apart, four numbers each. */
  protected lazy val rows: DataFrame = BridgeSuite.rows.cache()

  /** Stages before ours. */
  protected def before: Seq[PipelineStage] = Seq(
    new VectorAssembler().setInputCols(Array("a", "b", "c", "d")).setOutputCol("raw"),
    new StandardScaler().setInputCol("raw").setOutputCol("features")
  )

  protected def pipeline(last: PipelineStage): Pipeline = new Pipeline().setStages((before :+ last).toArray)

  protected def classifier: TorchClassifier = new TorchClassifier()
    .setModule("mlp")
    .setEpochs(12)
    .setBatchSize(32)
    .setLearningRate(0.02)
    .setVerbose(0)
    .setMlflow(false)

  protected def share(scored: DataFrame): Double =
    scored.where("prediction = label").count().toDouble / scored.count()
}

private object BridgeSuite {
  lazy val session: SparkSession = {
    val made = SparkSession
      .builder()
      .master("local[2]")
      .appName("sparkdl-scala-tests")
      .config("spark.ui.enabled", "false")
      .config("spark.driver.host", "127.0.0.1")
      .config("spark.driver.bindAddress", "127.0.0.1")
      .config("spark.sql.shuffle.partitions", "2")
      .getOrCreate()
    made.sparkContext.setLogLevel("ERROR")
    made
  }

  lazy val rows: DataFrame = session
    .range(0, 240, 1, 2)
    .selectExpr(
      "id",
      "cast(id % 3 as double) as label",
      "sin(id) + id % 3 as a",
      "cos(id) - id % 3 as b",
      "(id % 3) * (id % 3) + sin(3 * id) as c",
      "cast(id % 7 as double) as d"
    )
}
