"""Metrics of an epoch, over all ranks; the only package that imports torchmetrics."""

from sparkdl.train.metrics.door import load_torchmetrics, load_without_scipy
from sparkdl.train.metrics.measured import MetricSet

__all__ = ["MetricSet", "load_torchmetrics", "load_without_scipy"]
