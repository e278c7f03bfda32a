"""Where the ranks run and how they work together."""

from sparkdl.comm.registry import AUTO, BACKENDS
from sparkdl.params import kinds
from sparkdl.params.setting import Setting, Settings


class HasDevice(Settings):
    """Which device computes, and in which precision."""

    device = Setting(
        kinds.one_of("auto", "cpu", "cuda"),
        "auto",
        "auto takes the task's GPUs, on a local master the visible ones, else cpu",
    )
    precision = Setting(
        kinds.one_of("float32", "bf16", "fp16"),
        "float32",
        "arithmetic of the forward and backward pass; fp16 needs cuda",
    )


class HasRanks(Settings):
    """The processes that train together."""

    numProcs = Setting(kinds.whole(1), 1, "ranks, each in its own task slot; one rank needs no Horovod")
    canonicalShards = Setting(
        kinds.whole(1),
        None,
        "shards into which the rows are divided: any number of ranks up to it takes the same steps on the same rows; "
        "8, or numProcs if that is more, where it is not set",
    )
    taskResources = Setting(
        kinds.amounts(),
        {},
        "what each rank's task gets of its executor (cpus, gpu) where that is not what the session says; "
        "needs pyspark 4.0 and a cluster",
    )
    backend = Setting(
        kinds.one_of(AUTO, *BACKENDS),
        AUTO,
        "how the ranks talk: horovod, torch (torch.distributed), or local (one rank alone); auto is horovod where the "
        "driver has it, else torch, said in one line",
    )
    syncBatchNorm = Setting(kinds.flag(), False, "whether batch norm takes its statistics over all ranks")
    maxRestarts = Setting(
        kinds.whole(0),
        0,
        "times that a lost rank or executor is answered by a new start, from the last checkpoint where there are some; "
        "errors of yours never are",
    )
    minProcs = Setting(
        kinds.whole(1), None, "ranks that are enough for a new start on a smaller cluster; numProcs where it is not set"
    )
    startTimeout = Setting(
        kinds.number(above=0.0), 300.0, "seconds from the start of the first task to that of the last rank"
    )
    heartbeatTimeout = Setting(kinds.number(above=0.0), 600.0, "seconds without a heartbeat after which a rank is lost")
