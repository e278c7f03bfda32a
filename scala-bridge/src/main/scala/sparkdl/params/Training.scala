// Made by docs/make_params.py from the declarations in sparkdl/params/training.py: change those.
package sparkdl.params

import org.apache.spark.ml.param.{BooleanParam, DoubleArrayParam, DoubleParam, IntParam, Param, Params}
import org.apache.spark.ml.param.shared.HasSeed

/** What is minimised, and what is measured beside it. */
trait HasObjective extends Params {

  /**
   * Name (mse, l1, huber, cross_entropy, nll, bce_with_logits, poisson), torch loss class, or function(output, target)
   * that returns one value per row; by task where it is not set: mse for a regressor, cross_entropy for a classifier
   * (bce_with_logits for a network with one output).
   */
  final val loss: JsonParam = new JsonParam(
    this,
    "loss",
    "name (mse, l1, huber, cross_entropy, nll, bce_with_logits, poisson), torch loss class, or function(output," +
      " target) that returns one value per row; by task where it is not set: mse for a regressor, cross_entropy " +
      "for a classifier (bce_with_logits for a network with one output)",
    "a loss, given as its name, its class or a function, or a list of such, one for each label",
    Kinds.namedOrEach
  )

  /**
   * Returns loss: name (mse, l1, huber, cross_entropy, nll, bce_with_logits, poisson), torch loss class, or
   * function(output, target) that returns one value per row; by task where it is not set: mse for a regressor,
   * cross_entropy for a classifier (bce_with_logits for a network with one output).
   */
  final def getLoss: String = $(loss)

  /** Arguments of the loss; with several labels a list, one dict for each. */
  final val lossParams: JsonParam = new JsonParam(
    this,
    "lossParams",
    "arguments of the loss; with several labels a list, one dict for each",
    "a dict with names as keys, or a list of such dicts, one for each label",
    Kinds.optionsForEach
  )

  /** Returns lossParams: arguments of the loss; with several labels a list, one dict for each. */
  final def getLossParams: String = $(lossParams)

  /** Weight of each label's loss in their sum; 1 where it is not set. */
  final val lossWeights: DoubleArrayParam = new DoubleArrayParam(
    this,
    "lossWeights",
    "weight of each label's loss in their sum; 1 where it is not set",
    Kinds.numbers(0.0)
  )

  /** Returns lossWeights: weight of each label's loss in their sum; 1 where it is not set. */
  final def getLossWeights: Array[Double] = $(lossWeights)

  /**
   * Names as in torchmetrics, or functions(output, target), measured in each epoch; by task where it is not set:
   * accuracy for a classifier, else none; [] measures none.
   */
  final val metrics: JsonParam = new JsonParam(
    this,
    "metrics",
    "names as in torchmetrics, or functions(output, target), measured in each epoch; by task where it is not " +
      "set: accuracy for a classifier, else none; [] measures none",
    "a list of metrics, each given as its name or a function",
    Kinds.namedList
  )

  /**
   * Returns metrics: names as in torchmetrics, or functions(output, target), measured in each epoch; by task where it
   * is not set: accuracy for a classifier, else none; [] measures none.
   */
  final def getMetrics: String = $(metrics)

  setDefault(lossParams -> "{}")
}

/** The passes over the rows and the steps of each. */
trait HasPasses extends HasSeed {

  /** Passes over the rows. */
  final val epochs: IntParam = new IntParam(this, "epochs", "passes over the rows", Kinds.whole(minimum = 1))

  /** Returns epochs: passes over the rows. */
  final def getEpochs: Int = $(epochs)

  /** Steps after which each epoch is cut; all where it is not set. */
  final val stepsPerEpoch: IntParam = new IntParam(
    this,
    "stepsPerEpoch",
    "steps after which each epoch is cut; all where it is not set",
    Kinds.whole(minimum = 1)
  )

  /** Returns stepsPerEpoch: steps after which each epoch is cut; all where it is not set. */
  final def getStepsPerEpoch: Int = $(stepsPerEpoch)

  /** Whether a partial last batch is left out. */
  final val dropLast: BooleanParam = new BooleanParam(this, "dropLast", "whether a partial last batch is left out")

  /** Returns dropLast: whether a partial last batch is left out. */
  final def getDropLast: Boolean = $(dropLast)

  /** Rows of one optimizer step over all ranks together, so that numProcs changes the speed and not the result. */
  final val batchSize: IntParam = new IntParam(
    this,
    "batchSize",
    "rows of one optimizer step over all ranks together, so that numProcs changes the speed and not the result",
    Kinds.whole(minimum = 1)
  )

  /**
   * Returns batchSize: rows of one optimizer step over all ranks together, so that numProcs changes the speed and not
   * the result.
   */
  final def getBatchSize: Int = $(batchSize)

  /** Parts in which a rank computes its share of a step. */
  final val accumulationSteps: IntParam = new IntParam(
    this,
    "accumulationSteps",
    "parts in which a rank computes its share of a step",
    Kinds.whole(minimum = 1)
  )

  /** Returns accumulationSteps: parts in which a rank computes its share of a step. */
  final def getAccumulationSteps: Int = $(accumulationSteps)

  /** Whether the rows come in another order in each epoch. */
  final val shuffle: BooleanParam = new BooleanParam(
    this,
    "shuffle",
    "whether the rows come in another order in each epoch"
  )

  /** Returns shuffle: whether the rows come in another order in each epoch. */
  final def getShuffle: Boolean = $(shuffle)

  /** Rows that a rank holds in memory to shuffle among. */
  final val shuffleWindow: IntParam = new IntParam(
    this,
    "shuffleWindow",
    "rows that a rank holds in memory to shuffle among",
    Kinds.whole(minimum = 1)
  )

  /** Returns shuffleWindow: rows that a rank holds in memory to shuffle among. */
  final def getShuffleWindow: Int = $(shuffleWindow)

  setDefault(
    epochs -> 1,
    dropLast -> false,
    batchSize -> 256,
    accumulationSteps -> 1,
    shuffle -> true,
    shuffleWindow -> 200000,
    seed -> 42L
  )
}

/** How a step changes the weights. */
trait HasOptimization extends Params {

  /** Torch.optim's name in lower case, class, or function of the parameters. */
  final val optimizer: JsonParam = new JsonParam(
    this,
    "optimizer",
    "torch.optim's name in lower case, class, or function of the parameters",
    "an optimizer, given as its name, its class or a function",
    Kinds.named
  )

  /** Returns optimizer: torch.optim's name in lower case, class, or function of the parameters. */
  final def getOptimizer: String = $(optimizer)

  /** Arguments of the optimizer besides the learning rate. */
  final val optimizerParams: JsonParam = new JsonParam(
    this,
    "optimizerParams",
    "arguments of the optimizer besides the learning rate",
    "a dict with names as keys",
    Kinds.options
  )

  /** Returns optimizerParams: arguments of the optimizer besides the learning rate. */
  final def getOptimizerParams: String = $(optimizerParams)

  /** Learning rate of the optimizer. */
  final val learningRate: DoubleParam = new DoubleParam(
    this,
    "learningRate",
    "learning rate of the optimizer",
    Kinds.number(above = 0.0)
  )

  /** Returns learningRate: learning rate of the optimizer. */
  final def getLearningRate: Double = $(learningRate)

  /** Torch.optim.lr_scheduler's class name, or function(optimizer, totalSteps); stepped after each optimizer step. */
  final val lrSchedule: JsonParam = new JsonParam(
    this,
    "lrSchedule",
    "torch.optim.lr_scheduler's class name, or function(optimizer, totalSteps); stepped after each optimizer " +
      "step",
    "a schedule, given as its name, its class or a function",
    Kinds.named
  )

  /**
   * Returns lrSchedule: torch.optim.lr_scheduler's class name, or function(optimizer, totalSteps); stepped after each
   * optimizer step.
   */
  final def getLrSchedule: String = $(lrSchedule)

  /** Arguments of the schedule. */
  final val lrScheduleParams: JsonParam = new JsonParam(
    this,
    "lrScheduleParams",
    "arguments of the schedule",
    "a dict with names as keys",
    Kinds.options
  )

  /** Returns lrScheduleParams: arguments of the schedule. */
  final def getLrScheduleParams: String = $(lrScheduleParams)

  /** Norm to which the gradient of a step is clipped; not clipped where not set. */
  final val gradientClipNorm: DoubleParam = new DoubleParam(
    this,
    "gradientClipNorm",
    "norm to which the gradient of a step is clipped; not clipped where not set",
    Kinds.number(above = 0.0)
  )

  /** Returns gradientClipNorm: norm to which the gradient of a step is clipped; not clipped where not set. */
  final def getGradientClipNorm: Double = $(gradientClipNorm)

  setDefault(optimizer -> "adamw", optimizerParams -> "{}", learningRate -> 0.001, lrScheduleParams -> "{}")
}

/** How the network is computed while it is trained. */
trait HasArithmetic extends Params {

  /** Whether training steps go through torch.compile, or arguments of it; validation and the saved network do not. */
  final val compile: JsonParam = new JsonParam(
    this,
    "compile",
    "whether training steps go through torch.compile, or arguments of it; validation and the saved network do " +
      "not",
    "True, False, or a dict with names as keys",
    Kinds.flagOrOptions
  )

  /**
   * Returns compile: whether training steps go through torch.compile, or arguments of it; validation and the saved
   * network do not.
   */
  final def getCompile: String = $(compile)

  /**
   * Precision inside of float32 matrix products while training, as in torch.set_float32_matmul_precision: high is TF32
   * on GPUs that have it; highest leaves torch's setting alone.
   */
  final val matmulPrecision: Param[String] = new Param[String](
    this,
    "matmulPrecision",
    "precision inside of float32 matrix products while training, as in torch.set_float32_matmul_precision: high" +
      " is TF32 on GPUs that have it; highest leaves torch's setting alone",
    Kinds.choice("highest", "high", "medium")
  )

  /**
   * Returns matmulPrecision: precision inside of float32 matrix products while training, as in
   * torch.set_float32_matmul_precision: high is TF32 on GPUs that have it; highest leaves torch's setting alone.
   */
  final def getMatmulPrecision: String = $(matmulPrecision)

  setDefault(compile -> "false", matmulPrecision -> "highest")
}

/** When training ends before its last epoch, and who may look on. */
trait HasStopping extends Params {

  /** Epochs without progress (0.01% of the best is none) after which training ends; the best weights are kept. */
  final val earlyStoppingPatience: IntParam = new IntParam(
    this,
    "earlyStoppingPatience",
    "epochs without progress (0.01% of the best is none) after which training ends; the best weights are kept",
    Kinds.whole(minimum = 1)
  )

  /**
   * Returns earlyStoppingPatience: epochs without progress (0.01% of the best is none) after which training ends; the
   * best weights are kept.
   */
  final def getEarlyStoppingPatience: Int = $(earlyStoppingPatience)

  /** What must make progress: a column of the history, loss or a metric, val_ in front. */
  final val earlyStoppingMetric: Param[String] = new Param[String](
    this,
    "earlyStoppingMetric",
    "what must make progress: a column of the history, loss or a metric, val_ in front",
    Kinds.text(false)
  )

  /** Returns earlyStoppingMetric: what must make progress: a column of the history, loss or a metric, val_ in front. */
  final def getEarlyStoppingMetric: String = $(earlyStoppingMetric)

  /** Sparkdl.train.Callback instances, called on every rank. */
  final val callbacks: JsonParam = new JsonParam(
    this,
    "callbacks",
    "sparkdl.train.Callback instances, called on every rank",
    "a list of sparkdl.train.Callback instances",
    Kinds.callbacks
  )

  /** Returns callbacks: sparkdl.train.Callback instances, called on every rank. */
  final def getCallbacks: String = $(callbacks)

  setDefault(earlyStoppingMetric -> "val_loss", callbacks -> "[]")
}
