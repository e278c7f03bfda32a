// Made by docs/make_params.py from the declarations in sparkdl/params: change those.
package sparkdl.params

import java.util.{Map => JavaMap}

import sparkdl.TorchRegressionModel

/** The setters of [[TorchRegressionModel]]; Spark's RegressionModel has those of featuresCol, predictionCol. */
trait TorchRegressionModelSetters extends ModelParams { self: TorchRegressionModel =>

  /** Sets batchSize: rows that the network computes at once; 0: as many as suit network and device. */
  def setBatchSize(value: Int): this.type = set(batchSize, value)

  /** Sets device: auto takes the task's GPUs, on a local master the visible ones, else cpu. */
  def setDevice(value: String): this.type = set(device, value)

  /** Sets featuresCols: scalar columns that are stacked into one (n, k) input; instead of featuresCol. */
  def setFeaturesCols(value: Array[String]): this.type = set(featuresCols, value)

  /**
   * Sets handleInvalid: rows with a null input: raise an error, leave them out, or keep them with a null prediction.
   */
  def setHandleInvalid(value: String): this.type = set(handleInvalid, value)

  /** Sets inputCols: one column for each input of the network, in its order; instead of featuresCol. */
  def setInputCols(value: Array[String]): this.type = set(inputCols, value)

  /** Sets outputLayers: columns to add with what inner layers return: {name of the layer: column}. */
  def setOutputLayers(value: String): this.type = set(outputLayers, value)
  def setOutputLayers(value: JavaMap[String, _]): this.type = set(outputLayers, outputLayers.textOf(value))
  def setOutputLayers(value: collection.Map[String, Any]): this.type = set(outputLayers, outputLayers.textOf(value))

  /** Sets precision: arithmetic of the forward and backward pass; fp16 needs cuda. */
  def setPrecision(value: String): this.type = set(precision, value)
}
