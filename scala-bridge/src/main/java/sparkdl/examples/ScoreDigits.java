package sparkdl.examples;

import org.apache.spark.ml.PipelineModel;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import sparkdl.SparkDL;
import sparkdl.TorchClassificationModel;

/**
 * Scores handwritten digits in Java, with the pipeline that {@link Digits} has saved.
 *
 * <pre>sparkdl-submit --class sparkdl.examples.ScoreDigits JAR digits.csv.gz /tmp/digits-model</pre>
 */
public final class ScoreDigits {
  private ScoreDigits() {}

  /**
   * Scores the digits of a file.
   *
   * @param args the file, and the folder of the pipeline
   */
  public static void main(String[] args) {
    SparkSession spark = SparkSession.builder().getOrCreate();
    Dataset<Row> rows = Digits.read(spark, args[0]);
    PipelineModel pipeline = SparkDL.loadPipeline(args[1]);
    TorchClassificationModel model = (TorchClassificationModel) pipeline.stages()[1];
    model.setBatchSize(1024);
    Dataset<Row> scored = pipeline.transform(rows);
    long right = scored.where("prediction = label").count();
    System.out.printf("%d classes, %.1f%% of %d digits right%n",
        model.numClasses(), 100.0 * right / scored.count(), scored.count());
    spark.stop();
  }
}
