"""How a model computes its columns; these Params belong to the model and are not copied from the estimator."""

from pyspark.ml.param.shared import HasBatchSize, HasHandleInvalid

from sparkdl.params import kinds
from sparkdl.params.ranks import HasDevice
from sparkdl.params.setting import Setting


class HasScoring(HasDevice, HasBatchSize, HasHandleInvalid):
    """How rows are scored."""

    batchSize = Setting(
        kinds.whole(0), 0, "rows that the network computes at once; 0: as many as suit network and device"
    )
    outputLayers = Setting(
        kinds.words(), {}, "columns to add with what inner layers return: {name of the layer: column}"
    )
    handleInvalid = Setting(
        kinds.one_of("error", "skip", "keep"),
        "error",
        "rows with a null input: raise an error, leave them out, or keep them with a null prediction",
    )
