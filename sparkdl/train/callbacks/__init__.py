"""What hangs into the training loop: the interface, and the callbacks that come with the library."""

from sparkdl.train.callbacks.callback import Callback, TrainState
from sparkdl.train.callbacks.early_stopping import EarlyStopping

__all__ = ["Callback", "EarlyStopping", "TrainState"]
