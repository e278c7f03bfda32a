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
        module(*owned(inputs))
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
    expected = outputs_of(module(*owned(inputs)))
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    try:
        got = outputs_of(module(*owned(inputs, images_last=True)))
        if all(map(_close, expected, got)):
            return True
    except RuntimeError:
        # The view that this layout does not allow.
        pass
    module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return False


def owned(
    inputs: Sequence[torch.Tensor], device: torch.device | None = None, *, images_last: bool = False
) -> list[torch.Tensor]:
    """Return copies for one pass through a network, which may write into them: the memory of `inputs` is not its own.

    Parameters
    ----------
    inputs : sequence of Tensor
    device : torch.device, optional
        Where the copies are; by default where the inputs are.
    images_last : bool
        Whether batches of images get their channels last in memory.
    """
    return [
        tensor.to(tensor.device if device is None else device, copy=True, memory_format=_layout(tensor, images_last))
        for tensor in inputs
    ]


def _layout(tensor: torch.Tensor, images_last: bool) -> torch.memory_format:
    return torch.channels_last if images_last and tensor.dim() == 4 else torch.preserve_format


def _bytes(tensor: torch.Tensor) -> int:
    rows = tensor.shape[0] if tensor.dim() else 1
    return math.ceil(tensor.numel() * tensor.element_size() / max(1, rows))


def _close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(
        one.float(), other.float(), rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True
    )
