// Made by docs/make_params.py from the declarations in sparkdl/params/ranks.py: change those.
package sparkdl.params

import org.apache.spark.ml.param.{BooleanParam, DoubleParam, IntParam, Param, Params}

/** Which device computes, and in which precision. */
trait HasDevice extends Params {

  /** Auto takes the task's GPUs, on a local master the visible ones, else cpu. */
  final val device: Param[String] = new Param[String](
    this,
    "device",
    "auto takes the task's GPUs, on a local master the visible ones, else cpu",
    Kinds.choice("auto", "cpu", "cuda")
  )

  /** Returns device: auto takes the task's GPUs, on a local master the visible ones, else cpu. */
  final def getDevice: String = $(device)

  /** Arithmetic of the forward and backward pass; fp16 needs cuda. */
  final val precision: Param[String] = new Param[String](
    this,
    "precision",
    "arithmetic of the forward and backward pass; fp16 needs cuda",
    Kinds.choice("float32", "bf16", "fp16")
  )

  /** Returns precision: arithmetic of the forward and backward pass; fp16 needs cuda. */
  final def getPrecision: String = $(precision)

  setDefault(device -> "auto", precision -> "float32")
}

/** The processes that train together. */
trait HasRanks extends Params {

  /** Ranks, each in its own task slot; one rank needs no Horovod. */
  final val numProcs: IntParam = new IntParam(
    this,
    "numProcs",
    "ranks, each in its own task slot; one rank needs no Horovod",
    Kinds.whole(minimum = 1)
  )

  /** Returns numProcs: ranks, each in its own task slot; one rank needs no Horovod. */
  final def getNumProcs: Int = $(numProcs)

  /**
   * Shards into which the rows are divided: any number of ranks up to it takes the same steps on the same rows; 8, or
   * numProcs if that is more, where it is not set.
   */
  final val canonicalShards: IntParam = new IntParam(
    this,
    "canonicalShards",
    "shards into which the rows are divided: any number of ranks up to it takes the same steps on the same " +
      "rows; 8, or numProcs if that is more, where it is not set",
    Kinds.whole(minimum = 1)
  )

  /**
   * Returns canonicalShards: shards into which the rows are divided: any number of ranks up to it takes the same steps
   * on the same rows; 8, or numProcs if that is more, where it is not set.
   */
  final def getCanonicalShards: Int = $(canonicalShards)

  /**
   * What each rank's task gets of its executor (cpus, gpu) where that is not what the session says; needs pyspark 4.0
   * and a cluster.
   */
  final val taskResources: JsonParam = new JsonParam(
    this,
    "taskResources",
    "what each rank's task gets of its executor (cpus, gpu) where that is not what the session says; needs " +
      "pyspark 4.0 and a cluster",
    "a dict from names to numbers > 0",
    Kinds.amounts
  )

  /**
   * Returns taskResources: what each rank's task gets of its executor (cpus, gpu) where that is not what the session
   * says; needs pyspark 4.0 and a cluster.
   */
  final def getTaskResources: String = $(taskResources)

  /**
   * How the ranks talk: horovod, torch (torch.distributed), or local (one rank alone); auto is horovod where the driver
   * has it, else torch, said in one line.
   */
  final val backend: Param[String] = new Param[String](
    this,
    "backend",
    "how the ranks talk: horovod, torch (torch.distributed), or local (one rank alone); auto is horovod where " +
      "the driver has it, else torch, said in one line",
    Kinds.choice("auto", "horovod", "torch", "local")
  )

  /**
   * Returns backend: how the ranks talk: horovod, torch (torch.distributed), or local (one rank alone); auto is horovod
   * where the driver has it, else torch, said in one line.
   */
  final def getBackend: String = $(backend)

  /** Whether batch norm takes its statistics over all ranks. */
  final val syncBatchNorm: BooleanParam = new BooleanParam(
    this,
    "syncBatchNorm",
    "whether batch norm takes its statistics over all ranks"
  )

  /** Returns syncBatchNorm: whether batch norm takes its statistics over all ranks. */
  final def getSyncBatchNorm: Boolean = $(syncBatchNorm)

  /**
   * Times that a lost rank or executor is answered by a new start, from the last checkpoint where there are some;
   * errors of yours never are.
   */
  final val maxRestarts: IntParam = new IntParam(
    this,
    "maxRestarts",
    "times that a lost rank or executor is answered by a new start, from the last checkpoint where there are " +
      "some; errors of yours never are",
    Kinds.whole(minimum = 0)
  )

  /**
   * Returns maxRestarts: times that a lost rank or executor is answered by a new start, from the last checkpoint where
   * there are some; errors of yours never are.
   */
  final def getMaxRestarts: Int = $(maxRestarts)

  /** Ranks that are enough for a new start on a smaller cluster; numProcs where it is not set. */
  final val minProcs: IntParam = new IntParam(
    this,
    "minProcs",
    "ranks that are enough for a new start on a smaller cluster; numProcs where it is not set",
    Kinds.whole(minimum = 1)
  )

  /** Returns minProcs: ranks that are enough for a new start on a smaller cluster; numProcs where it is not set. */
  final def getMinProcs: Int = $(minProcs)

  /** Seconds from the start of the first task to that of the last rank. */
  final val startTimeout: DoubleParam = new DoubleParam(
    this,
    "startTimeout",
    "seconds from the start of the first task to that of the last rank",
    Kinds.number(above = 0.0)
  )

  /** Returns startTimeout: seconds from the start of the first task to that of the last rank. */
  final def getStartTimeout: Double = $(startTimeout)

  /** Seconds without a heartbeat after which a rank is lost. */
  final val heartbeatTimeout: DoubleParam = new DoubleParam(
    this,
    "heartbeatTimeout",
    "seconds without a heartbeat after which a rank is lost",
    Kinds.number(above = 0.0)
  )

  /** Returns heartbeatTimeout: seconds without a heartbeat after which a rank is lost. */
  final def getHeartbeatTimeout: Double = $(heartbeatTimeout)

  setDefault(
    numProcs -> 1,
    taskResources -> "{}",
    backend -> "auto",
    syncBatchNorm -> false,
    maxRestarts -> 0,
    startTimeout -> 300.0,
    heartbeatTimeout -> 600.0
  )
}
