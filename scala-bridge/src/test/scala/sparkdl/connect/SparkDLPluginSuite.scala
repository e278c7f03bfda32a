package sparkdl.connect

import java.util.{Optional, ServiceLoader}

import scala.jdk.CollectionConverters._

import org.apache.spark.ml.{Estimator, Transformer}
import org.scalatest.funsuite.AnyFunSuite

class SparkDLPluginSuite extends AnyFunSuite {
  private val plugin = new SparkDLPlugin

  test("the names of clients are those of the stages here") {
    assert(plugin.transform("sparkdl.connect.TorchModel") == Optional.of("sparkdl.TorchModel"))
    assert(plugin.transform("TorchClassifier") == Optional.of("sparkdl.TorchClassifier"))
    for (other <- Seq("sparkdl.TorchModel", "org.apache.spark.ml.feature.Imputer", "sparkdl.connect.Other")) {
      assert(plugin.transform(other).isEmpty)
    }
  }

  test("Spark's server finds the stages, and makes them by a uid") {
    val found = Seq(classOf[Estimator[_]], classOf[Transformer]).flatMap { kind =>
      val names = ServiceLoader.load(kind).stream().iterator().asScala.map(_.`type`()).toSeq
      names.filter(_.getName.startsWith("sparkdl."))
    }
    assert(found.map(_.getSimpleName).toSet == SparkDLPlugin.Stages)
    for (stage <- found) {
      val made = stage.getConstructor(classOf[String]).newInstance("mine")
      assert(made.asInstanceOf[org.apache.spark.ml.PipelineStage].uid == "mine")
      // By which it is loaded; models are also read from the server's disk.
      assert(stage.getMethod("load", classOf[String]).getReturnType.getName == stage.getName)
      assert(java.lang.reflect.Modifier.isStatic(stage.getMethod("read").getModifiers))
    }
  }
}
