"""Networks that take their sizes from the data, in pure torch; estimators find them by name."""

from sparkdl.nn.convolution import CNN
from sparkdl.nn.perceptron import MLP
from sparkdl.nn.sized import SizedModule

mlp = MLP
cnn = CNN

NETWORKS: dict[str, type[SizedModule]] = {"cnn": CNN, "mlp": MLP}
"""What an estimator's `module` may name."""

__all__ = ["CNN", "MLP", "NETWORKS", "SizedModule", "cnn", "mlp"]
