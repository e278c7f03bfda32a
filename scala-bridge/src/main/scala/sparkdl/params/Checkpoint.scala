// Made by docs/make_params.py from the declarations in sparkdl/params/checkpoint.py: change those.
package sparkdl.params

import org.apache.spark.ml.param.{DoubleParam, IntParam, Param, Params}

/** Checkpoints, from which the same job goes on after a failure or in another program. */
trait HasCheckpoints extends Params {

  /**
   * Folder for checkpoints that all executors can reach; it may hold those of many jobs. None are taken where it is not
   * set.
   */
  final val checkpointUrl: Param[String] = new Param[String](
    this,
    "checkpointUrl",
    "folder for checkpoints that all executors can reach; it may hold those of many jobs. None are taken where " +
      "it is not set",
    Kinds.text(false)
  )

  /**
   * Returns checkpointUrl: folder for checkpoints that all executors can reach; it may hold those of many jobs. None
   * are taken where it is not set.
   */
  final def getCheckpointUrl: String = $(checkpointUrl)

  /** Epochs after which a checkpoint is taken. */
  final val checkpointInterval: IntParam = new IntParam(
    this,
    "checkpointInterval",
    "epochs after which a checkpoint is taken",
    Kinds.whole(minimum = 1)
  )

  /** Returns checkpointInterval: epochs after which a checkpoint is taken. */
  final def getCheckpointInterval: Int = $(checkpointInterval)

  /** Steps after which one is taken as well, within an epoch. */
  final val checkpointSteps: IntParam = new IntParam(
    this,
    "checkpointSteps",
    "steps after which one is taken as well, within an epoch",
    Kinds.whole(minimum = 1)
  )

  /** Returns checkpointSteps: steps after which one is taken as well, within an epoch. */
  final def getCheckpointSteps: Int = $(checkpointSteps)

  /** Minutes after which one is taken as well. */
  final val checkpointMinutes: DoubleParam = new DoubleParam(
    this,
    "checkpointMinutes",
    "minutes after which one is taken as well",
    Kinds.number(above = 0.0)
  )

  /** Returns checkpointMinutes: minutes after which one is taken as well. */
  final def getCheckpointMinutes: Double = $(checkpointMinutes)

  /**
   * Checkpoints of a job that stay, the last ones; so does the best one by earlyStoppingMetric, where that is measured.
   */
  final val checkpointKeep: IntParam = new IntParam(
    this,
    "checkpointKeep",
    "checkpoints of a job that stay, the last ones; so does the best one by earlyStoppingMetric, where that is " +
      "measured",
    Kinds.whole(minimum = 1)
  )

  /**
   * Returns checkpointKeep: checkpoints of a job that stay, the last ones; so does the best one by earlyStoppingMetric,
   * where that is measured.
   */
  final def getCheckpointKeep: Int = $(checkpointKeep)

  /**
   * Auto: the same job (network, rows, Params other than epochs and those of the ranks) goes on from its last
   * checkpoint, another begins beside it; never: it begins anew; exact: as auto, refused where the weights could not be
   * the same bit for bit.
   */
  final val resume: Param[String] = new Param[String](
    this,
    "resume",
    "auto: the same job (network, rows, Params other than epochs and those of the ranks) goes on from its last " +
      "checkpoint, another begins beside it; never: it begins anew; exact: as auto, refused where the weights " +
      "could not be the same bit for bit",
    Kinds.choice("auto", "never", "exact")
  )

  /**
   * Returns resume: auto: the same job (network, rows, Params other than epochs and those of the ranks) goes on from
   * its last checkpoint, another begins beside it; never: it begins anew; exact: as auto, refused where the weights
   * could not be the same bit for bit.
   */
  final def getResume: String = $(resume)

  setDefault(checkpointInterval -> 1, checkpointKeep -> 3, resume -> "auto")
}
