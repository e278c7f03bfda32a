"""What hangs into the training loop: the interface, and the callbacks that come with the library."""

from sparkdl.train.callbacks.callback import Callback, TrainState
from sparkdl.train.callbacks.early_stopping import EarlyStopping
from sparkdl.train.callbacks.ema import EMA
from sparkdl.train.callbacks.learning_rate_monitor import LearningRateMonitor
from sparkdl.train.callbacks.profiler import Profiler
from sparkdl.train.callbacks.tensorboard import TensorBoard

__all__ = ["EMA", "Callback", "EarlyStopping", "LearningRateMonitor", "Profiler", "TensorBoard", "TrainState"]
