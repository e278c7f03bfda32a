// Made by docs/make_params.py from the declarations in sparkdl/params: change those.
package sparkdl.params

import java.util.{List => JavaList, Map => JavaMap}

import sparkdl.TorchEstimator

/** The setters of [[TorchEstimator]]. */
trait TorchEstimatorSetters extends EstimatorParams { self: TorchEstimator =>

  /** Sets accumulationSteps: parts in which a rank computes its share of a step. */
  def setAccumulationSteps(value: Int): this.type = set(accumulationSteps, value)

  /**
   * Sets backend: how the ranks talk: horovod, torch (torch.distributed), or local (one rank alone); auto is horovod
   * where the driver has it, else torch, said in one line.
   */
  def setBackend(value: String): this.type = set(backend, value)

  /**
   * Sets batchSize: rows of one optimizer step over all ranks together, so that numProcs changes the speed and not the
   * result.
   */
  def setBatchSize(value: Int): this.type = set(batchSize, value)

  /**
   * Sets cacheUrl: folder for the packed rows that all executors can reach; where it is not set:
   * spark.sparkdl.cacheUrl, a temporary folder on a local master, or fs.defaultFS.
   */
  def setCacheUrl(value: String): this.type = set(cacheUrl, value)

  /** Sets callbacks: sparkdl.train.Callback instances, called on every rank. */
  def setCallbacks(value: String): this.type = set(callbacks, value)
  def setCallbacks(value: Array[String]): this.type = set(callbacks, callbacks.textOf(value))
  def setCallbacks(value: JavaList[_]): this.type = set(callbacks, callbacks.textOf(value))
  def setCallbacks(value: collection.Seq[Any]): this.type = set(callbacks, callbacks.textOf(value))

  /**
   * Sets canonicalShards: shards into which the rows are divided: any number of ranks up to it takes the same steps on
   * the same rows; 8, or numProcs if that is more, where it is not set.
   */
  def setCanonicalShards(value: Int): this.type = set(canonicalShards, value)

  /** Sets checkpointInterval: epochs after which a checkpoint is taken. */
  def setCheckpointInterval(value: Int): this.type = set(checkpointInterval, value)

  /**
   * Sets checkpointKeep: checkpoints of a job that stay, the last ones; so does the best one by earlyStoppingMetric,
   * where that is measured.
   */
  def setCheckpointKeep(value: Int): this.type = set(checkpointKeep, value)

  /** Sets checkpointMinutes: minutes after which one is taken as well. */
  def setCheckpointMinutes(value: Double): this.type = set(checkpointMinutes, value)

  /** Sets checkpointSteps: steps after which one is taken as well, within an epoch. */
  def setCheckpointSteps(value: Int): this.type = set(checkpointSteps, value)

  /**
   * Sets checkpointUrl: folder for checkpoints that all executors can reach; it may hold those of many jobs. None are
   * taken where it is not set.
   */
  def setCheckpointUrl(value: String): this.type = set(checkpointUrl, value)

  /**
   * Sets compile: whether training steps go through torch.compile, or arguments of it; validation and the saved network
   * do not.
   */
  def setCompile(value: String): this.type = set(compile, value)
  def setCompile(value: Boolean): this.type = set(compile, compile.textOf(value))
  def setCompile(value: JavaMap[String, _]): this.type = set(compile, compile.textOf(value))
  def setCompile(value: collection.Map[String, Any]): this.type = set(compile, compile.textOf(value))

  /** Sets device: auto takes the task's GPUs, on a local master the visible ones, else cpu. */
  def setDevice(value: String): this.type = set(device, value)

  /** Sets dropLast: whether a partial last batch is left out. */
  def setDropLast(value: Boolean): this.type = set(dropLast, value)

  /** Sets earlyStoppingMetric: what must make progress: a column of the history, loss or a metric, val_ in front. */
  def setEarlyStoppingMetric(value: String): this.type = set(earlyStoppingMetric, value)

  /**
   * Sets earlyStoppingPatience: epochs without progress (0.01% of the best is none) after which training ends; the best
   * weights are kept.
   */
  def setEarlyStoppingPatience(value: Int): this.type = set(earlyStoppingPatience, value)

  /** Sets epochs: passes over the rows. */
  def setEpochs(value: Int): this.type = set(epochs, value)

  /** Sets featuresCol: column that is the network's one input. */
  def setFeaturesCol(value: String): this.type = set(featuresCol, value)

  /** Sets featuresCols: scalar columns that are stacked into one (n, k) input; instead of featuresCol. */
  def setFeaturesCols(value: Array[String]): this.type = set(featuresCols, value)

  /**
   * Sets feed: how the rows reach the ranks: parquet, by files that all executors can reach; direct, as Arrow streams
   * that the ranks' hosts spool to their disks, without any shared folder.
   */
  def setFeed(value: String): this.type = set(feed, value)

  /** Sets fillValue: value in place of nulls in the inputs; nulls are refused where it is not set. */
  def setFillValue(value: Double): this.type = set(fillValue, value)

  /** Sets gradientClipNorm: norm to which the gradient of a step is clipped; not clipped where not set. */
  def setGradientClipNorm(value: Double): this.type = set(gradientClipNorm, value)

  /** Sets heartbeatTimeout: seconds without a heartbeat after which a rank is lost. */
  def setHeartbeatTimeout(value: Double): this.type = set(heartbeatTimeout, value)

  /** Sets inputCols: one column for each input of the network, in its order; instead of featuresCol. */
  def setInputCols(value: Array[String]): this.type = set(inputCols, value)

  /** Sets labelCol: column that is learned. */
  def setLabelCol(value: String): this.type = set(labelCol, value)

  /** Sets labelCols: one column for each output of the network, in its order; instead of labelCol. */
  def setLabelCols(value: Array[String]): this.type = set(labelCols, value)

  /** Sets learningRate: learning rate of the optimizer. */
  def setLearningRate(value: Double): this.type = set(learningRate, value)

  /**
   * Sets loss: name (mse, l1, huber, cross_entropy, nll, bce_with_logits, poisson), torch loss class, or
   * function(output, target) that returns one value per row; by task where it is not set: mse for a regressor,
   * cross_entropy for a classifier (bce_with_logits for a network with one output).
   */
  def setLoss(value: String): this.type = set(loss, value)
  def setLoss(value: Array[String]): this.type = set(loss, loss.textOf(value))
  def setLoss(value: JavaList[_]): this.type = set(loss, loss.textOf(value))
  def setLoss(value: collection.Seq[Any]): this.type = set(loss, loss.textOf(value))

  /** Sets lossParams: arguments of the loss; with several labels a list, one dict for each. */
  def setLossParams(value: String): this.type = set(lossParams, value)
  def setLossParams(value: JavaMap[String, _]): this.type = set(lossParams, lossParams.textOf(value))
  def setLossParams(value: collection.Map[String, Any]): this.type = set(lossParams, lossParams.textOf(value))
  def setLossParams(value: JavaList[_]): this.type = set(lossParams, lossParams.textOf(value))
  def setLossParams(value: collection.Seq[Any]): this.type = set(lossParams, lossParams.textOf(value))

  /** Sets lossWeights: weight of each label's loss in their sum; 1 where it is not set. */
  def setLossWeights(value: Array[Double]): this.type = set(lossWeights, value)

  /**
   * Sets lrSchedule: torch.optim.lr_scheduler's class name, or function(optimizer, totalSteps); stepped after each
   * optimizer step.
   */
  def setLrSchedule(value: String): this.type = set(lrSchedule, value)

  /** Sets lrScheduleParams: arguments of the schedule. */
  def setLrScheduleParams(value: String): this.type = set(lrScheduleParams, value)
  def setLrScheduleParams(value: JavaMap[String, _]): this.type = set(lrScheduleParams, lrScheduleParams.textOf(value))
  def setLrScheduleParams(value: collection.Map[String, Any]): this.type =
    set(lrScheduleParams, lrScheduleParams.textOf(value))

  /**
   * Sets matmulPrecision: precision inside of float32 matrix products while training, as in
   * torch.set_float32_matmul_precision: high is TF32 on GPUs that have it; highest leaves torch's setting alone.
   */
  def setMatmulPrecision(value: String): this.type = set(matmulPrecision, value)

  /**
   * Sets maxRestarts: times that a lost rank or executor is answered by a new start, from the last checkpoint where
   * there are some; errors of yours never are.
   */
  def setMaxRestarts(value: Int): this.type = set(maxRestarts, value)

  /**
   * Sets metrics: names as in torchmetrics, or functions(output, target), measured in each epoch; by task where it is
   * not set: accuracy for a classifier, else none; [] measures none.
   */
  def setMetrics(value: String): this.type = set(metrics, value)
  def setMetrics(value: Array[String]): this.type = set(metrics, metrics.textOf(value))
  def setMetrics(value: JavaList[_]): this.type = set(metrics, metrics.textOf(value))
  def setMetrics(value: collection.Seq[Any]): this.type = set(metrics, metrics.textOf(value))

  /** Sets minProcs: ranks that are enough for a new start on a smaller cluster; numProcs where it is not set. */
  def setMinProcs(value: Int): this.type = set(minProcs, value)

  /** Sets mlflow: auto records a run when there is an active one or a tracking URI; true, false. */
  def setMlflow(value: String): this.type = set(mlflow, value)
  def setMlflow(value: Boolean): this.type = set(mlflow, value.toString)

  /**
   * Sets module: network: a name in sparkdl.nn, an nn.Module (trained from its present weights, itself left unchanged),
   * or a class or a function (called with moduleParams and nothing else).
   */
  def setModule(value: String): this.type = set(module, value)

  /**
   * Sets moduleParams: arguments of the network; for a name in sparkdl.nn, sizes that are missing come from the data.
   */
  def setModuleParams(value: String): this.type = set(moduleParams, value)
  def setModuleParams(value: JavaMap[String, _]): this.type = set(moduleParams, moduleParams.textOf(value))
  def setModuleParams(value: collection.Map[String, Any]): this.type = set(moduleParams, moduleParams.textOf(value))

  /** Sets numProcs: ranks, each in its own task slot; one rank needs no Horovod. */
  def setNumProcs(value: Int): this.type = set(numProcs, value)

  /** Sets optimizer: torch.optim's name in lower case, class, or function of the parameters. */
  def setOptimizer(value: String): this.type = set(optimizer, value)

  /** Sets optimizerParams: arguments of the optimizer besides the learning rate. */
  def setOptimizerParams(value: String): this.type = set(optimizerParams, value)
  def setOptimizerParams(value: JavaMap[String, _]): this.type = set(optimizerParams, optimizerParams.textOf(value))
  def setOptimizerParams(value: collection.Map[String, Any]): this.type =
    set(optimizerParams, optimizerParams.textOf(value))

  /**
   * Sets outputCols: one column for each output of the network, in its order; "" leaves one out; instead of
   * predictionCol.
   */
  def setOutputCols(value: Array[String]): this.type = set(outputCols, value)

  /**
   * Sets padMask: whether the network gets, behind its inputs, a mask for each one that padValue applies to: (n, k)
   * bool, true where an element is its own and not padding.
   */
  def setPadMask(value: Boolean): this.type = set(padMask, value)

  /**
   * Sets padValue: value behind the elements of shorter arrays and vectors, up to the longest; refused where it is not
   * set.
   */
  def setPadValue(value: Double): this.type = set(padValue, value)

  /** Sets precision: arithmetic of the forward and backward pass; fp16 needs cuda. */
  def setPrecision(value: String): this.type = set(precision, value)

  /** Sets predictionCol: column that holds the prediction; "" leaves it out. */
  def setPredictionCol(value: String): this.type = set(predictionCol, value)

  /**
   * Sets resume: auto: the same job (network, rows, Params other than epochs and those of the ranks) goes on from its
   * last checkpoint, another begins beside it; never: it begins anew; exact: as auto, refused where the weights could
   * not be the same bit for bit.
   */
  def setResume(value: String): this.type = set(resume, value)

  /** Sets seed: seed of the network's first weights, of the order of the rows and of validationFraction. */
  def setSeed(value: Long): this.type = set(seed, value)

  /** Sets shuffle: whether the rows come in another order in each epoch. */
  def setShuffle(value: Boolean): this.type = set(shuffle, value)

  /** Sets shuffleWindow: rows that a rank holds in memory to shuffle among. */
  def setShuffleWindow(value: Int): this.type = set(shuffleWindow, value)

  /** Sets sparseTensors: whether inputs that are vectors reach the network as torch's sparse tensors (COO). */
  def setSparseTensors(value: Boolean): this.type = set(sparseTensors, value)

  /** Sets startTimeout: seconds from the start of the first task to that of the last rank. */
  def setStartTimeout(value: Double): this.type = set(startTimeout, value)

  /** Sets stepsPerEpoch: steps after which each epoch is cut; all where it is not set. */
  def setStepsPerEpoch(value: Int): this.type = set(stepsPerEpoch, value)

  /** Sets storageOptions: arguments of the file system of cacheUrl and checkpointUrl; never saved, logged or shown. */
  def setStorageOptions(value: String): this.type = setSecret(storageOptions, value)
  def setStorageOptions(value: JavaMap[String, _]): this.type = setSecret(storageOptions, value)
  def setStorageOptions(value: collection.Map[String, Any]): this.type = setSecret(storageOptions, value)

  /** Sets syncBatchNorm: whether batch norm takes its statistics over all ranks. */
  def setSyncBatchNorm(value: Boolean): this.type = set(syncBatchNorm, value)

  /**
   * Sets taskResources: what each rank's task gets of its executor (cpus, gpu) where that is not what the session says;
   * needs pyspark 4.0 and a cluster.
   */
  def setTaskResources(value: String): this.type = set(taskResources, value)
  def setTaskResources(value: JavaMap[String, _]): this.type = set(taskResources, taskResources.textOf(value))
  def setTaskResources(value: collection.Map[String, Any]): this.type = set(taskResources, taskResources.textOf(value))

  /** Sets validationFraction: seeded share of the rows that are only measured. */
  def setValidationFraction(value: Double): this.type = set(validationFraction, value)

  /** Sets validationIndicatorCol: boolean column: true for the rows that are only measured, not learned from. */
  def setValidationIndicatorCol(value: String): this.type = set(validationIndicatorCol, value)

  /** Sets verbose: 0 silent, 1 progress, 2 a line for each epoch. */
  def setVerbose(value: Int): this.type = set(verbose, value)

  /** Sets weightCol: column with the weight of each row in every loss: 2 equals the row twice, 0 equals no row. */
  def setWeightCol(value: String): this.type = set(weightCol, value)
}
