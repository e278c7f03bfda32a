"""Which network is trained."""

from sparkdl.params import kinds
from sparkdl.params.setting import Setting, Settings


class HasNetwork(Settings):
    """The network and its arguments."""

    module = Setting(
        kinds.network(),
        None,
        "network: a name in sparkdl.nn, an nn.Module (trained from its present weights, itself left unchanged), "
        "or a class or a function (called with moduleParams and nothing else)",
    )
    moduleParams = Setting(
        kinds.options(),
        {},
        "arguments of the network; for a name in sparkdl.nn, sizes that are missing come from the data",
    )


class HasClasses(Settings):
    """The classes of a classifier."""

    numClasses = Setting(kinds.whole(2, besides=0), 0, "number of classes; 0 takes it from the labels")
    classWeights = Setting(
        kinds.class_weights(),
        None,
        "weight of each class in the loss; 'balanced' gives every class the same total weight",
    )
