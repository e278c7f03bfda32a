"""How a network computes fastest: how many rows at once, and in which order images lie in memory.

Both are found out on the first rows. Too many rows at once push what a layer leaves for the next one out of the
processor's cache: a small CNN took twice as long with 512 images as with 16.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from sparkdl.network.check import outputs_of

ROWS = 2
"""Rows on which things are tried."""

_CPU_BYTES = 2 << 20
_GPU_BYTES = 256 << 20
_FEWEST, _MOST = 16, 8192
_TOLERANCE = 1e-3
_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


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
        module(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    target = _GPU_BYTES if inputs[0].device.type == "cuda" else _CPU_BYTES
    return min(_MOST, max(_FEWEST, target // max(1, widest)))


def prefers_channels_last(module: nn.Module, inputs: Sequence[torch.Tensor]) -> bool:
    """Return whether convolutions may get images with their channels last in memory, which they do faster.

    The network is left that way if they may. A network that looks at how its tensors lie (``view``) may raise or
    compute something else: it is tried on these rows, and left as it was.

    Parameters
    ----------
    module : nn.Module
        In evaluation mode, on the device of the inputs.
    inputs : sequence of Tensor
        A few rows, (n, ...).
    """
    convolves = any(isinstance(layer, _CONVOLUTIONS) for layer in module.modules())
    # Tensors of five dimensions have a layout of their own, which torch does not mix with this one.
    volumes = any(tensor.dim() == 5 for tensor in (*module.parameters(), *module.buffers()))
    if not convolves or volumes or not any(tensor.dim() == 4 for tensor in inputs):
        return False
    expected = outputs_of(module(*inputs))
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    try:
        got = outputs_of(module(*(channels_last(tensor) for tensor in inputs)))
        if all(map(_close, expected, got)):
            return True
    except RuntimeError:
        # The view that this layout does not allow.
        pass
    module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return False


def channels_last(tensor: torch.Tensor) -> torch.Tensor:
    """Return a batch of images with the channels last in memory; other tensors as they are."""
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor


def _bytes(tensor: torch.Tensor) -> int:
    rows = tensor.shape[0] if tensor.dim() else 1
    return math.ceil(tensor.numel() * tensor.element_size() / max(1, rows))


def _close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(
        one.float(), other.float(), rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True
    )
