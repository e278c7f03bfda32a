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
_GPU_BYTES, _GPU_SHARE = 1 << 30, 32
"""Of what the widest layer returns: so many bytes, and no more than this part of the memory that is free."""
_GPU_INPUT_BYTES = 256 << 20
"""Of one input; it is copied from memory that cannot be swapped."""
_FEWEST, _MOST, _GPU_MOST = 16, 8192, 65_536


def rows_at_once(module: nn.Module, inputs: Sequence[torch.Tensor]) -> int:
    """Return how many rows to compute at once, so that what the widest layer returns stays small.

    Parameters
    ----------
    module : nn.Module
        In evaluation mode, on the device of the inputs.
    inputs : sequence of Tensor
        A few rows, (n, ...).
    """
    given = widest = max(1, *map(_bytes, inputs))

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
    device = inputs[0].device
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
    return _fitting(widest, given, free)


def _fitting(widest: int, given: int, free: int | None) -> int:
    """Rows whose widest layer returns so many bytes each, of inputs of `given` bytes; `free` of a GPU, None: a CPU."""
    if free is None:
        return min(_MOST, max(_FEWEST, _CPU_BYTES // widest))
    # Other tasks, of other processes, may share the GPU: none of them takes much of what is left.
    most = min(_GPU_MOST, _GPU_INPUT_BYTES // given)
    return max(_FEWEST, min(most, min(_GPU_BYTES, free // _GPU_SHARE) // widest))


def _bytes(tensor: torch.Tensor) -> int:
    rows = tensor.shape[0] if tensor.dim() else 1
    return math.ceil(tensor.numel() * tensor.element_size() / max(1, rows))
