// Made by docs/make_params.py from the declarations in sparkdl/params/network.py: change those.
package sparkdl.params

import org.apache.spark.ml.param.{IntParam, Params}

/** The network and its arguments. */
trait HasNetwork extends Params {

  /**
   * Network: a name in sparkdl.nn, an nn.Module (trained from its present weights, itself left unchanged), or a class
   * or a function (called with moduleParams and nothing else).
   */
  final val module: JsonParam = new JsonParam(
    this,
    "module",
    "network: a name in sparkdl.nn, an nn.Module (trained from its present weights, itself left unchanged), or " +
      "a class or a function (called with moduleParams and nothing else)",
    "a network: a name in sparkdl.nn, an nn.Module, its class, or a function that returns one",
    Kinds.named
  )

  /**
   * Returns module: network: a name in sparkdl.nn, an nn.Module (trained from its present weights, itself left
   * unchanged), or a class or a function (called with moduleParams and nothing else).
   */
  final def getModule: String = $(module)

  /** Arguments of the network; for a name in sparkdl.nn, sizes that are missing come from the data. */
  final val moduleParams: JsonParam = new JsonParam(
    this,
    "moduleParams",
    "arguments of the network; for a name in sparkdl.nn, sizes that are missing come from the data",
    "a dict with names as keys",
    Kinds.options
  )

  /**
   * Returns moduleParams: arguments of the network; for a name in sparkdl.nn, sizes that are missing come from the
   * data.
   */
  final def getModuleParams: String = $(moduleParams)

  setDefault(moduleParams -> "{}")
}

/** The classes of a classifier. */
trait HasClasses extends Params {

  /** Number of classes; 0 takes it from the labels. */
  final val numClasses: IntParam = new IntParam(
    this,
    "numClasses",
    "number of classes; 0 takes it from the labels",
    Kinds.whole(minimum = 2, besides = 0)
  )

  /** Returns numClasses: number of classes; 0 takes it from the labels. */
  final def getNumClasses: Int = $(numClasses)

  /** Weight of each class in the loss; 'balanced' gives every class the same total weight. */
  final val classWeights: JsonParam = new JsonParam(
    this,
    "classWeights",
    "weight of each class in the loss; 'balanced' gives every class the same total weight",
    "'balanced', or a list of numbers >= 0, one for each class, not all 0",
    Kinds.classWeights
  )

  /** Returns classWeights: weight of each class in the loss; 'balanced' gives every class the same total weight. */
  final def getClassWeights: String = $(classWeights)

  setDefault(numClasses -> 0)
}
