package sparkdl.examples

import org.apache.spark.ml.{Pipeline, PipelineStage}
import org.apache.spark.ml.evaluation.MulticlassClassificationEvaluator
import org.apache.spark.ml.feature.VectorAssembler
import org.apache.spark.sql.{functions => F, DataFrame, SparkSession}

import sparkdl.TorchClassifier

/**
 * Trains a network to read handwritten digits, scores those it has not seen, and saves the pipeline.
 *
 * {{{
 * sparkdl-submit --class sparkdl.examples.Digits JAR digits.csv.gz /tmp/digits-model
 * }}}
 *
 * The file is that of scikit-learn: 1,797 lines of 64 grey values and the digit, without a header.
 */
object Digits {
  def main(args: Array[String]): Unit = {
    val (file, target) = (args(0), args(1))
    val spark = SparkSession.builder().getOrCreate()
    val rows = read(spark, file)
    val parts = rows.randomSplit(Array(0.8, 0.2), seed = 7)
    val (train, test) = (parts(0), parts(1))

    val pixels = (0 until 64).map(i => s"_c$i").toArray
    val classifier = new TorchClassifier()
      .setModule("mlp")
      .setModuleParams(Map("hidden" -> Seq(128)))
      .setEpochs(20)
      .setBatchSize(64)
      .setLearningRate(0.003)
    val stages = Array[PipelineStage](
      new VectorAssembler().setInputCols(pixels).setOutputCol("features"),
      classifier
    )
    val model = new Pipeline().setStages(stages).fit(train)

    val accuracy = new MulticlassClassificationEvaluator()
      .setMetricName("accuracy")
      .evaluate(model.transform(test))
    println(f"accuracy on digits that it has not seen: $accuracy%.3f")
    model.write.overwrite().save(target)
    spark.stop()
  }

  /** The digits, with pixels from 0 to 1. */
  def read(spark: SparkSession, file: String): DataFrame = {
    val raw = spark.read.option("inferSchema", "true").csv(file)
    val pixels = (0 until 64).map(i => (F.col(s"_c$i") / 16.0).as(s"_c$i"))
    raw.select(pixels :+ F.col("_c64").cast("double").as("label"): _*)
  }
}
