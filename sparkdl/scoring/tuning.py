"""How many rows at once a network computes fastest, found out on the first rows.

Too many push what a layer leaves for the next one out of the processor's cache: a small CNN took twice as long with 512
images as with 16.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from sparkdl.network.channels_last import owned

_CPU_BYTES = 2 << 20
_GPU_BYTES = 256 << 20
_FEWEST, _MOST = 16, 8192


def rows_at_once(module: nn.Module, inputs: Sequence[torch.Tensor]) -> int:
    """Return how many rows to compute at once, so that what the widest layer returns stays small.

    Parameters
    ----------
    module : nn.Module
        In evaluation mode, on the device of the inputs.
    inputs : sequence of Tensor
        A few rows, (n, ...).
    """
    widest = max(_bytes(tensor) for tensor in inputs)

    def hook(layer: nn.Module, given: Any, result: Any) -> None:
        nonlocal widest
        if isinstance(result, torch.Tensor):
            widest = max(widest, _bytes(result))

    handles = [layer.register_forward_hook(hook) for layer in module.modules()]
    try:
        module(*owned(inputs))
    finally:
        for handle in handles:
            handle.remove()
    target = _GPU_BYTES if inputs[0].device.type == "cuda" else _CPU_BYTES
    return min(_MOST, max(_FEWEST, target // max(1, widest)))


def _bytes(tensor: torch.Tensor) -> int:
    rows = tensor.shape[0] if tensor.dim() else 1
    return math.ceil(tensor.numel() * tensor.element_size() / max(1, rows))
