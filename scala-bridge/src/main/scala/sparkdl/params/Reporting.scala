// Made by docs/make_params.py from the declarations in sparkdl/params/reporting.py: change those.
package sparkdl.params

import org.apache.spark.ml.param.{IntParam, Param, Params}

/** Progress on the driver, and MLflow. */
trait HasReporting extends Params {

  /** 0 silent, 1 progress, 2 a line for each epoch. */
  final val verbose: IntParam = new IntParam(
    this,
    "verbose",
    "0 silent, 1 progress, 2 a line for each epoch",
    Kinds.level(2)
  )

  /** Returns verbose: 0 silent, 1 progress, 2 a line for each epoch. */
  final def getVerbose: Int = $(verbose)

  /** Auto records a run when there is an active one or a tracking URI; true, false. */
  final val mlflow: Param[String] = new Param[String](
    this,
    "mlflow",
    "auto records a run when there is an active one or a tracking URI; true, false",
    Kinds.switch
  )

  /** Returns mlflow: auto records a run when there is an active one or a tracking URI; true, false. */
  final def getMlflow: String = $(mlflow)

  setDefault(verbose -> 1, mlflow -> "auto")
}
