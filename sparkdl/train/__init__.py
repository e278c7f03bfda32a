"""The training loop in pure torch: it knows a stream of batches and a backend, no Spark, Petastorm or Horovod."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sparkdl.train.callbacks import (
        EMA,
        Callback,
        EarlyStopping,
        LearningRateMonitor,
        Profiler,
        TensorBoard,
        TrainState,
    )
    from sparkdl.train.checkpoint.own_loop import Checkpoint

__all__ = [
    "EMA",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "LearningRateMonitor",
    "Profiler",
    "TensorBoard",
    "TrainState",
]


def __getattr__(name: str) -> object:
    if name == "Checkpoint":
        from sparkdl.train.checkpoint.own_loop import Checkpoint

        return Checkpoint
    if name in __all__:
        from sparkdl.train import callbacks

        return getattr(callbacks, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
