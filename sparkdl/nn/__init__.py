"""Networks that take their sizes from the data, in pure torch; estimators find them by name."""

from torch import nn

from sparkdl.nn.convolution import CNN
from sparkdl.nn.perceptron import MLP

mlp = MLP
cnn = CNN

NETWORKS: dict[str, type[nn.Module]] = {"cnn": CNN, "mlp": MLP}
"""What an estimator's `module` may name."""

__all__ = ["CNN", "MLP", "NETWORKS", "cnn", "mlp"]
