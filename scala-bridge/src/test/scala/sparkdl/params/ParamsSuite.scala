package sparkdl.params

import java.io.{ByteArrayInputStream, ByteArrayOutputStream, ObjectInputStream, ObjectOutputStream}

import scala.io.{Codec, Source}

import org.apache.spark.ml.param.{Param, ParamMap, Params}
import org.json4s.{DefaultFormats, Formats, JNull, JNothing, JValue}
import org.json4s.jackson.JsonMethods.parse
import org.scalatest.funsuite.AnyFunSuite

import sparkdl._

/** The Params are those of the Python stages, beside what each class of Spark's brings. */
class ParamsSuite extends AnyFunSuite {
  private implicit val formats: Formats = DefaultFormats

  private val stages: Seq[(String, Params)] = Seq(
    "TorchEstimator" -> new TorchEstimator(),
    "TorchClassifier" -> new TorchClassifier(),
    "TorchRegressor" -> new TorchRegressor(),
    "TorchModel" -> new TorchModel(),
    "TorchClassificationModel" -> new TorchClassificationModel(),
    "TorchRegressionModel" -> new TorchRegressionModel()
  )

  // Spark's models for Vectors have it; nothing reads it there.
  private val besides = Set("labelCol")

  for ((name, stage) <- stages) {
    test(s"$name has the names, types, defaults and docs of Python's") {
      val params = expected(name).filter(each => (each \ "type").extract[String] != "Secret")

      for (each <- params) {
        val param = stage.getParam((each \ "name").extract[String])
        assert(param.getClass.getSimpleName == (each \ "type").extract[String], param)
        assert(defaultOf(stage, param) == stated(each \ "default"), param)
        for (doc <- (each \ "doc").extractOpt[String]) assert(param.doc == doc)
      }
      val names = params.map(each => (each \ "name").extract[String]).toSet
      assert((stage.params.map(_.name).toSet -- names).subsetOf(besides), name)
    }
  }

  test("a default can be saved and read again") {
    for ((_, stage) <- stages; param <- stage.params; value <- stage.getDefault(param)) {
      val any = param.asInstanceOf[Param[Any]]
      assert(any.jsonEncode(any.jsonDecode(any.jsonEncode(value))) == any.jsonEncode(value), param)
    }
  }

  private val estimator = new TorchEstimator("e")

  private val refused: Seq[ParamMap => ParamMap] = Seq(
    _.put(estimator.epochs, 0),
    _.put(estimator.maxRestarts, -1),
    _.put(estimator.verbose, 3),
    _.put(estimator.validationFraction, 1.0),
    _.put(estimator.learningRate, 0.0),
    _.put(estimator.learningRate, Double.PositiveInfinity),
    _.put(estimator.padValue, Double.NaN),
    _.put(estimator.device, "tpu"),
    _.put(estimator.mlflow, "yes"),
    _.put(estimator.cacheUrl, ""),
    _.put(estimator.labelCols, Array.empty[String]),
    _.put(estimator.labelCols, Array("a", "a")),
    _.put(estimator.labelCols, Array("a", "")),
    _.put(estimator.lossWeights, Array(1.0, -1.0)),
    _.put(estimator.module, ""),
    _.put(estimator.module, "[1]"),
    _.put(estimator.module, "{\"mlp\": 1}"),
    _.put(estimator.moduleParams, "mlp"),
    _.put(estimator.moduleParams, "{\"hidden\": "),
    _.put(estimator.taskResources, "{\"gpu\": 0}"),
    _.put(estimator.lossParams, "[1]"),
    _.put(estimator.loss, "[\"mse\", 1]"),
    _.put(estimator.callbacks, "EarlyStopping")
  )

  for ((put, index) <- refused.zipWithIndex) test(s"a wrong value is refused by the name of its Param ($index)") {
    val map = ParamMap.empty
    val message = intercept[IllegalArgumentException](put(map)).getMessage

    assert(estimator.params.exists(param => message.contains(param.name)), message)
    assert(map.size == 0)
  }

  test("a value that is right is taken") {
    val map = ParamMap.empty
      .put(estimator.epochs, 3)
      .put(estimator.validationFraction, 0.0)
      .put(estimator.padValue, -1.0)
      .put(estimator.labelCols, Array("a", "b"))
      .put(estimator.module, "mlp")
      .put(estimator.loss, "[\"mse\", \"l1\"]")
      .put(estimator.lossParams, "[{}, {\"reduction\": \"none\"}]")
      .put(estimator.metrics, "accuracy")
      .put(estimator.optimizer, """{"$": "object", "v": "torch.optim.adam.Adam"}""")
      .put(estimator.callbacks, """[{"$": "callback", "class": "pkg.Mine", "state": {}}]""")
    val classes = new TorchClassifier("c")
    map.put(classes.numClasses, 0).put(classes.numClasses, 2)
    map.put(classes.classWeights, "balanced").put(classes.classWeights, "[1, 0.5]")

    assert(estimator.copy(map).getLabelCols.toSeq == Seq("a", "b"))
    intercept[IllegalArgumentException](map.put(classes.numClasses, 1))
    intercept[IllegalArgumentException](map.put(classes.classWeights, "[0, 0]"))
  }

  test("a secret is in copies, and nowhere else") {
    val stage = new TorchEstimator("e")
    assert(stage.getStorageOptions == "{}")
    stage.setSecret(stage.storageOptions, Map("key" -> "s3cret"))

    assert(stage.copy(ParamMap.empty).getStorageOptions == """{"key":"s3cret"}""")
    assert(!stage.explainParams().contains("s3cret") && !stage.extractParamMap().toString.contains("s3cret"))
    val bytes = new ByteArrayOutputStream()
    new ObjectOutputStream(bytes).writeObject(stage)
    assert(!bytes.toString("ISO-8859-1").contains("s3cret"))
    val read = new ObjectInputStream(new ByteArrayInputStream(bytes.toByteArray)).readObject()
    assert(read.asInstanceOf[TorchEstimator].getStorageOptions == "{}")
    assert(stage.secretsToJson == """{"storageOptions":{"key":"s3cret"}}""")
    assert(read.asInstanceOf[TorchEstimator].secretsToJson == "{}")
    val message = intercept[IllegalArgumentException](stage.setSecret(stage.storageOptions, "s3cret")).getMessage
    assert(message.contains("storageOptions") && !message.contains("s3cret"))
  }

  private def expected(stage: String): List[JValue] = {
    val file = getClass.getResourceAsStream("/params.json")
    (parse(Source.fromInputStream(file)(Codec.UTF8).mkString) \ stage).children
  }

  private def stated(value: JValue): Option[JValue] = if (value == JNull || value == JNothing) None else Some(value)

  private def defaultOf(stage: Params, param: Param[_]): Option[JValue] = stage
    .getDefault(param)
    .map(value => parse(s"[${param.asInstanceOf[Param[Any]].jsonEncode(value)}]").children.head)
}
