// Made by docs/make_params.py from the declarations in sparkdl/params/scoring.py: change those.
package sparkdl.params

import org.apache.spark.ml.param.{IntParam, Param}
import org.apache.spark.ml.param.shared.HasHandleInvalid

/** How rows are scored. */
trait HasScoring extends HasDevice with HasHandleInvalid {

  /** Rows that the network computes at once; 0: as many as suit network and device. */
  final val batchSize: IntParam = new IntParam(
    this,
    "batchSize",
    "rows that the network computes at once; 0: as many as suit network and device",
    Kinds.whole(minimum = 0)
  )

  /** Returns batchSize: rows that the network computes at once; 0: as many as suit network and device. */
  final def getBatchSize: Int = $(batchSize)

  /** Columns to add with what inner layers return: {name of the layer: column}. */
  final val outputLayers: JsonParam = new JsonParam(
    this,
    "outputLayers",
    "columns to add with what inner layers return: {name of the layer: column}",
    "a dict from names to the names of columns",
    Kinds.words
  )

  /** Returns outputLayers: columns to add with what inner layers return: {name of the layer: column}. */
  final def getOutputLayers: String = $(outputLayers)

  /** Rows with a null input: raise an error, leave them out, or keep them with a null prediction. */
  override val handleInvalid: Param[String] = new Param[String](
    this,
    "handleInvalid",
    "rows with a null input: raise an error, leave them out, or keep them with a null prediction",
    Kinds.choice("error", "skip", "keep")
  )

  setDefault(batchSize -> 0, outputLayers -> "{}", handleInvalid -> "error")
}
