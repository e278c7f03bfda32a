"""What hangs into the training loop: the interface, and the callbacks that come with the library."""

from sparkdl.train.callbacks.callback import Callback, TrainState, call

__all__ = ["Callback", "TrainState", "call"]
