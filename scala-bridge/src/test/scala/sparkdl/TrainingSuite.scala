package sparkdl

import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.Files

import scala.sys.process.Process
import scala.util.Using

import org.apache.spark.ml.PipelineModel
import org.apache.spark.ml.classification.OneVsRest
import org.apache.spark.ml.evaluation.{
  BinaryClassificationEvaluator,
  MulticlassClassificationEvaluator,
  RegressionEvaluator
}
import org.apache.spark.ml.tuning.{CrossValidator, ParamGridBuilder, TrainValidationSplit}

class TrainingSuite extends BridgeSuite {

  test("a classifier in a pipeline learns, and what it returns is whole") {
    val fitted = pipeline(classifier).fit(rows)
    val model = fitted.stages.last.asInstanceOf[TorchClassificationModel]
    assert(model.numClasses == 3)
    assert(model.numFeatures == 4)
    assert(model.history.size == 12)
    assert(model.history.last("loss") < model.history.head("loss"))
    assert(model.history.head.keys.take(3).toSeq == Seq("epoch", "loss", "accuracy"))
    assert(model.toString == s"TorchClassificationModel: uid=${model.uid}, numFeatures=4, numClasses=3")
    val scored = fitted.transform(rows)
    // What columns hold besides, such as the names of a vector's parts, only the rows tell.
    val foreseen = fitted.transformSchema(rows.schema)
    assert(scored.schema.map(field => field.name -> field.dataType) == foreseen.map(f => f.name -> f.dataType))
    assert(share(scored) > 0.85)
  }

  test("two ranks compute what one does") {
    val one = pipeline(classifier.setNumProcs(1)).fit(rows).stages.last.asInstanceOf[TorchClassificationModel]
    val two = pipeline(classifier.setNumProcs(2)).fit(rows).stages.last.asInstanceOf[TorchClassificationModel]
    assert(math.abs(one.history.last("loss") - two.history.last("loss")) < 1e-4)
  }

  test("a regressor and an estimator of several labels learn") {
    val regressor = new TorchRegressor()
      .setModule("mlp")
      .setLabelCol("c")
      .setFeaturesCols(Array("a", "b", "d"))
      .setEpochs(80)
      .setBatchSize(64)
      .setLearningRate(0.03)
      .setVerbose(0)
      .setMlflow(false)
    val scored = regressor.fit(rows).transform(rows)
    val r2 = new RegressionEvaluator().setLabelCol("c").setMetricName("r2").evaluate(scored)
    assert(r2 > 0.6)
    val estimator = new TorchEstimator()
      .setModule("torch.nn:Linear")
      .setModuleParams(Map("in_features" -> 2, "out_features" -> 1))
      .setFeaturesCols(Array("a", "b"))
      .setLabelCols(Array("a"))
      .setOutputCols(Array("out"))
      .setLoss("mse")
      .setEpochs(40)
      .setLearningRate(0.1)
      .setVerbose(0)
      .setMlflow(false)
    val out = estimator.fit(rows).transform(rows).selectExpr("avg(abs(out - a))").head().getDouble(0)
    assert(out < 0.1)
  }

  test("Spark's searches run over it, and several fits at once") {
    val stage = classifier
    val grid = new ParamGridBuilder().addGrid(stage.learningRate, Array(1e-6, 0.02)).build()
    val evaluator = new MulticlassClassificationEvaluator().setMetricName("accuracy")
    val search = new CrossValidator()
      .setEstimator(pipeline(stage))
      .setEvaluator(evaluator)
      .setEstimatorParamMaps(grid)
      .setNumFolds(2)
      .setParallelism(2)
    val best = search.fit(rows)
    assert(best.avgMetrics(1) > best.avgMetrics(0))
    val last = best.bestModel.asInstanceOf[PipelineModel].stages.last.asInstanceOf[TorchClassificationModel]
    assert(last.parent.extractParamMap().get(stage.learningRate).contains(0.02))
    val split = new TrainValidationSplit()
      .setEstimator(pipeline(stage))
      .setEvaluator(evaluator)
      .setEstimatorParamMaps(grid)
      .fit(rows)
    assert(split.validationMetrics(1) > split.validationMetrics(0))
  }

  test("OneVsRest and the area under the curve") {
    val scaled = pipeline(classifier).getStages.take(2)
    val prepared = new org.apache.spark.ml.Pipeline().setStages(scaled).fit(rows).transform(rows)
    val model = new OneVsRest().setClassifier(classifier).fit(prepared)
    assert(share(model.transform(prepared)) > 0.85)
    val two = prepared.where("label < 2")
    val area = new BinaryClassificationEvaluator().evaluate(classifier.fit(two).transform(two))
    assert(area > 0.9)
  }

  test("the network of a saved model is trained further") {
    val first = pipeline(classifier).fit(rows)
    first.stages.last.asInstanceOf[TorchClassificationModel].write.overwrite().save(path("first"))
    val further = pipeline(classifier.setModule("saved:" + path("first")).setEpochs(1).setLearningRate(1e-5))
    val history = further.fit(rows).stages.last.asInstanceOf[TorchClassificationModel].history
    val before = first.stages.last.asInstanceOf[TorchClassificationModel].history
    assert(history.head("loss") < before(3)("loss"))
  }

  test("checkpoints and runs of MLflow are those of Python") {
    val before = runs
    val stage = classifier.setCheckpointUrl(path("checkpoints")).setMlflow(true)
    pipeline(stage.setEpochs(2)).fit(rows)
    val further = pipeline(stage.setEpochs(4)).fit(rows).stages.last.asInstanceOf[TorchClassificationModel]
    assert(further.history.map(_("epoch")) == Seq(1.0, 2.0, 3.0, 4.0))
    val whole = pipeline(classifier.setEpochs(4)).fit(rows).stages.last.asInstanceOf[TorchClassificationModel]
    assert(further.history.last("loss") == whole.history.last("loss"))
    assert(runs == before + 2)
  }

  test("what a file names is not imported, in whatever form it stands there") {
    val marks = folder.resolve("mark")
    val arguments = Map[String, Any]("path" -> marks.toString, "inputs" -> 4, "outputs" -> 3)
    val name = "tests.bridge.networks:Marking"
    classifier.setModule(name).setModuleParams(arguments).write.save(path("named"))
    val file = folder.resolve("named/metadata/part-00000")
    val whole = new String(Files.readAllBytes(file), UTF_8)
    val asObject = s"""{"$$":"object","v":"$name"}"""
    assert(whole.contains(asObject))
    for (form <- Seq(asObject, s""""$name"""")) {
      Files.deleteIfExists(file.resolveSibling(".part-00000.crc"))
      Files.write(file, whole.replace(asObject, form).getBytes(UTF_8))
      val loaded = TorchClassifier.load(path("named"))
      val error = intercept[SparkDLException](pipeline(loaded).fit(rows))
      assert(error.getMessage.contains(s"module refers to $name, which is not known here"))
      assert(error.getMessage.contains("spark.sparkdl.imports"))
      assert(!Using.resource(Files.list(folder))(_.anyMatch(_.toString.startsWith(marks.toString))))
    }
    spark.conf.set("spark.sparkdl.imports", "tests.bridge.networks")
    try assert(pipeline(TorchClassifier.load(path("named"))).fit(rows).stages.length == 3)
    finally spark.conf.unset("spark.sparkdl.imports")
  }

  /** How many runs MLflow has. */
  private def runs: Int = {
    val program = "import mlflow; print(len(mlflow.search_runs(search_all_experiments=True)))"
    Process(Seq(sys.env("PYSPARK_PYTHON"), "-c", program)).!!.trim.linesIterator.toSeq.last.toInt
  }

  test("what Python refuses is one sentence, with the traceback behind it") {
    val wrong = intercept[SparkDLException](pipeline(classifier.setModule("nope")).fit(rows))
    assert(wrong.getMessage.linesIterator.next().contains("nope"))
    assert(wrong.pythonTraceback.contains("Traceback"))
    // It leads to the line of the program, not to a thread that nobody knows.
    assert(wrong.getStackTrace.exists(_.getClassName.startsWith("sparkdl.TrainingSuite")))
    val column = intercept[SparkDLException](new TorchClassifier().setModule("mlp").setFeaturesCol("absent").fit(rows))
    assert(column.getMessage.startsWith("featuresCol='absent'"))
    val unknown = intercept[SparkDLException](pipeline(classifier.setModule("no.such_module:Net")).fit(rows))
    assert(unknown.getMessage.startsWith("'no.such_module:Net' cannot be imported by the driver's Python"))
  }
}
