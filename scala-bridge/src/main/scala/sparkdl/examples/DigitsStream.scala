package sparkdl.examples

import org.apache.spark.sql.SparkSession
import org.apache.spark.sql.streaming.Trigger

import sparkdl.SparkDL

/**
 * Scores a stream of handwritten digits with the pipeline that [[Digits]] has saved.
 *
 * {{{
 * sparkdl-submit --class sparkdl.examples.DigitsStream JAR digits.csv.gz /tmp/digits-model /tmp/digits-scored
 * }}}
 */
object DigitsStream {
  def main(args: Array[String]): Unit = {
    val (file, saved, target) = (args(0), args(1), args(2))
    val spark = SparkSession.builder().getOrCreate()
    // Files stand for what else streams: messages of Kafka, for example.
    val incoming = s"$target/incoming"
    Digits.read(spark, file).repartition(4).write.mode("overwrite").parquet(incoming)

    val model = SparkDL.loadPipeline(saved)
    val stream = spark.readStream.schema(spark.read.parquet(incoming).schema).parquet(incoming)
    val query = model
      .transform(stream)
      .select("label", "prediction")
      .writeStream
      .format("parquet")
      .option("path", s"$target/scored")
      .option("checkpointLocation", s"$target/progress")
      .trigger(Trigger.AvailableNow())
      .start()
    query.awaitTermination()

    val scored = spark.read.parquet(s"$target/scored")
    val right = scored.where("prediction = label").count()
    println(f"${scored.count()} digits scored, ${100.0 * right / scored.count()}%.1f%% of them right")
    spark.stop()
  }
}
