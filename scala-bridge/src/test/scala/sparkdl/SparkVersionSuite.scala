package sparkdl

import org.apache.spark.SPARK_VERSION
import org.scalatest.funsuite.AnyFunSuite

class SparkVersionSuite extends AnyFunSuite {

  test("the Spark that it is built for, whatever the patch") {
    SparkVersion.check(SPARK_VERSION)
    SparkVersion.check(s"${SparkVersion.built}.99")
    SparkVersion.check(s"${SparkVersion.built}.0-SNAPSHOT")
    assert(SPARK_VERSION.startsWith(SparkVersion.built + "."))
  }

  test("another minor version is one sentence that says which jar to use") {
    val error = intercept[SparkDLException](SparkVersion.check("3.9.1"))
    assert(
      error.getMessage == s"this jar of sparkdl is built for Spark ${SparkVersion.built}, and this is Spark 3.9.1: " +
        "use sparkdl-spark-3.9_2.13"
    )
  }

  test("4.20 is not 4.2") {
    val error = intercept[SparkDLException](SparkVersion.check(s"${SparkVersion.built}0.1"))
    assert(error.getMessage.contains(s"this is Spark ${SparkVersion.built}0.1"))
  }
}
