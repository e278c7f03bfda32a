package sparkdl

import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.Files

import org.apache.spark.ml.linalg.Vector
import org.apache.spark.ml.param.ParamMap
import org.apache.spark.sql.Row
import org.apache.spark.sql.streaming.Trigger

class ScoringSuite extends BridgeSuite {
  private lazy val fitted = pipeline(classifier).fit(rows)
  private lazy val model = fitted.stages.last.asInstanceOf[TorchClassificationModel]
  private lazy val prepared = fitted.stages.take(2).foldLeft(rows)((frame, stage) => stage.transform(frame))

  test("a stream is scored as the batch is") {
    rows.write.parquet(path("rows"))
    val stream = spark.readStream.schema(rows.schema).parquet(path("rows"))
    val query = fitted
      .transform(stream)
      .select("id", "prediction")
      .writeStream
      .format("parquet")
      .option("checkpointLocation", path("progress"))
      .trigger(Trigger.AvailableNow())
      .start(path("scored"))
    query.awaitTermination()
    val streamed = spark.read.parquet(path("scored")).orderBy("id").collect()
    assert(streamed.sameElements(fitted.transform(rows).select("id", "prediction").orderBy("id").collect()))
    assert(streamed.length == 240)
  }

  test("saved and loaded it predicts the same, and keeps Params that are set") {
    model.copy(ParamMap.empty).setPredictionCol("p").write.save(path("model"))
    val loaded = TorchClassificationModel.load(path("model"))
    assert(loaded.uid == model.uid)
    assert(loaded.getPredictionCol == "p")
    val there = loaded.transform(prepared).orderBy("id").select("p").collect()
    assert(there.sameElements(model.transform(prepared).orderBy("id").select("prediction").collect()))
    assert(intercept[SparkDLException](TorchModel.load(path("model"))).getMessage.contains("not a sparkdl.TorchModel"))
    assert(intercept[SparkDLException](TorchModel.load(path("rows"))).getMessage.contains("there is no saved stage"))
  }

  test("metadata that somebody has damaged are one sentence") {
    model.write.save(path("damaged"))
    val file = folder.resolve("damaged/metadata/part-00000")
    val whole = new String(Files.readAllBytes(file), UTF_8)
    val wrong = Seq(
      whole.replace(
        "\"kind\":\"vector\"",
        "\"kind\":\"odd\""
      ) -> "it is damaged: it has a field of the kind 'odd'",
      whole.replace("\"schema\":", "\"scheme\":") -> "it is damaged: it has no inputs",
      whole.replace("\"outputs\":", "\"output\":") -> "it is damaged",
      whole
        .replace("\"formatVersion\":2", "\"formatVersion\":3") -> "it has format version 3, this sparkdl reads 1 to 2",
      whole.replace("\"paramMap\":{}", "\"paramMap\":{\"odd\":1}") -> "TorchClassificationModel has no Param 'odd'",
      whole.replace("\"uid\":", "\"vid\":") -> "its metadata are damaged",
      "[]" -> "its metadata are damaged",
      "{" -> "its metadata are damaged"
    )
    for ((text, said) <- wrong) {
      Files.delete(file)
      Files.deleteIfExists(file.resolveSibling(".part-00000.crc"))
      Files.write(file, text.getBytes(UTF_8))
      val error = intercept[SparkDLException](TorchClassificationModel.load(path("damaged")))
      assert(error.getMessage.startsWith(s"${path("damaged")}: $said"))
    }
  }

  test("a model without its weights is refused when it is loaded") {
    model.write.save(path("light"))
    Files.delete(folder.resolve("light/weights.safetensors"))
    val error = intercept[SparkDLException](TorchClassificationModel.load(path("light")))
    assert(error.getMessage.endsWith("light: it is damaged: weights.safetensors is missing"))
  }

  test("inner layers are columns, and their names are checked") {
    val inner = model.copy(ParamMap.empty)
    val out = intercept[SparkDLException](inner.setOutputLayers(Map("nope" -> "x")).transform(prepared))
    assert(out.getMessage.startsWith("outputLayers names 'nope'"))
    val names = out.getMessage.split("are: ")(1).split("[,;]").map(_.trim)
    val scored = inner.setOutputLayers(Map(names.last.takeWhile(_ != ' ') -> "inner")).transform(prepared)
    assert(scored.select("inner").head().getSeq[Float](0).nonEmpty)
  }

  test("null rows, empty partitions and columns that do not fit") {
    val holes = prepared.selectExpr("id", "label", "if(id = 5, null, features) as features").repartition(7)
    val kept = model.copy(ParamMap.empty).setHandleInvalid("keep").transform(holes)
    assert(kept.where("id = 5").select("prediction", "probability").head() == Row(null, null))
    assert(kept.where("prediction is null").count() == 1)
    assert(model.copy(ParamMap.empty).setHandleInvalid("skip").transform(holes).count() == 239)
    assert(model.transform(holes.where("id < 0")).count() == 0)
    val wrong = intercept[SparkDLException](model.transform(rows))
    assert(wrong.getMessage.startsWith("featuresCol='features' is missing in the DataFrame"))
    val taken = intercept[SparkDLException](model.transform(prepared.withColumn("Prediction", prepared("id"))))
    assert(taken.getMessage.startsWith("the output column 'prediction' exists already"))
    val features = prepared.select("features").head().getAs[Vector](0)
    assert(intercept[UnsupportedOperationException](model.predict(features)).getMessage.contains("by transform"))
  }

  test("an executor's Python that is not there is one sentence") {
    val error = intercept[SparkDLException](
      sparkdl.scoring.PythonProbe.ask(spark.sparkContext, "/no/such/python")
    )
    assert(error.getMessage.startsWith("spark.pyspark.python='/no/such/python' cannot be run by an executor"))
  }
}
