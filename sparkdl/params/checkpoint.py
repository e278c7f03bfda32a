"""Where checkpoints of the training lie, when they are taken, and whether a fit goes on from one."""

from sparkdl.params import kinds
from sparkdl.params.setting import Setting, Settings
from sparkdl.train.checkpoint.config import AUTO, EXACT, NEVER


class HasCheckpoints(Settings):
    """Checkpoints, from which the same job goes on after a failure or in another program."""

    checkpointUrl = Setting(
        kinds.text(),
        None,
        "folder for checkpoints that all executors can reach; it may hold those of many jobs. None are taken where it "
        "is not set",
    )
    checkpointInterval = Setting(kinds.whole(1), 1, "epochs after which a checkpoint is taken")
    checkpointSteps = Setting(kinds.whole(1), None, "steps after which one is taken as well, within an epoch")
    checkpointMinutes = Setting(kinds.number(above=0.0), None, "minutes after which one is taken as well")
    checkpointKeep = Setting(
        kinds.whole(1),
        3,
        "checkpoints of a job that stay, the last ones; so does the best one by earlyStoppingMetric, where that is "
        "measured",
    )
    resume = Setting(
        kinds.one_of(AUTO, NEVER, EXACT),
        AUTO,
        "auto: the same job (network, rows, Params other than epochs and those of the ranks) goes on from its last "
        "checkpoint, another begins beside it; never: it begins anew; exact: as auto, refused where the weights could "
        "not be the same bit for bit",
    )
