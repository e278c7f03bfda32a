"""Whether a network may compute with its channels last in memory, which convolutions do faster.

A network that looks at how its tensors lie (``view``) may raise or compute something else then. So it is tried on a few
rows, in both orders.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import nn

from sparkdl.network.check import outputs_of, zeros
from sparkdl.network.copies import copied
from sparkdl.network.seeding import seeded
from sparkdl.schema import DataSchema

ROWS = 2
"""Rows on which things are tried."""

_TOLERANCES = {torch.float32: 1e-3, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""How far an output may be from what it was, as a share of the greatest one, by what numbers are multiplied as."""

_GRADIENT_TOLERANCE = 0.1
"""Of the norm of all gradients: one number that rounding sends another way through max or ReLU changes some of them."""

Autocast = Callable[[], AbstractContextManager[object]]

_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def prefers_channels_last(module: nn.Module, inputs: Sequence[torch.Tensor]) -> bool:
    """Return whether a network computes the same with its channels last; it is left that way if it does.

    To be called where the network is going to compute, under torch.autocast if it will be.

    Parameters
    ----------
    module : nn.Module
        In evaluation mode, on the device of the inputs.
    inputs : sequence of Tensor
        A few rows, (n, ...).
    """
    if not may_gain(module):
        return False
    expected = outputs_of(module(*owned(inputs)))
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    try:
        got = outputs_of(module(*owned(inputs, images_last=True)))
        if all(_close(one, other) for one, other in zip(expected, got, strict=True)):
            return True
    except RuntimeError:
        # The view that this order does not allow.
        pass
    module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return False


def trains_channels_last(module: nn.Module, schema: DataSchema, device: torch.device, autocast: Autocast) -> bool:
    """Return whether a network may be trained with its channels last: outputs and gradients are the same.

    A copy is tried, on rows of random numbers. What raises there is no reason to refuse the network.

    Parameters
    ----------
    module : nn.Module
        Left as it is, as are the random states.
    schema : DataSchema
        With every input's shape known.
    device : torch.device
        On which it is going to be trained.
    autocast : callable
        Returns the context of a forward pass.
    """
    if not may_gain(module):
        return False
    try:
        with seeded(0):
            inputs = [_random(zeros(field, ROWS)).to(device) for field in schema.inputs]
            twin = copied(module).to(device).eval()
            before = _gradient(twin, owned(inputs), autocast)
            with torch.no_grad(), autocast():
                if not prefers_channels_last(twin, inputs):
                    return False
            after = _gradient(twin, owned(inputs, images_last=True), autocast)
            # What it computes in training differs by chance (dropout), but it must go through.
            _gradient(twin.train(), owned(inputs, images_last=True), autocast)
            return bool((after - before).norm() <= _GRADIENT_TOLERANCE * before.norm())
    except Exception:
        return False


def may_gain(module: nn.Module) -> bool:
    """Tell whether a network has convolutions of images, and no tensors that torch does not mix with this order."""
    convolves = any(isinstance(layer, _CONVOLUTIONS) for layer in module.modules())
    # Tensors of five dimensions have an order of their own.
    return convolves and not any(tensor.dim() == 5 for tensor in (*module.parameters(), *module.buffers()))


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


def _gradient(module: nn.Module, inputs: Sequence[torch.Tensor], autocast: Autocast) -> torch.Tensor:
    """Return the gradients of all parameters in one row."""
    with autocast():
        learned = [output for output in outputs_of(module(*inputs)) if output.requires_grad]
    draw = torch.Generator().manual_seed(0)
    directions = [torch.randn(output.shape, generator=draw).to(output) for output in learned]
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    found = torch.autograd.grad(learned, parameters, directions, allow_unused=True)
    return torch.cat([gradient.float().reshape(-1) for gradient in found if gradient is not None])


def _random(batch: torch.Tensor) -> torch.Tensor:
    """Return as many numbers from 0 to 1; indices, masks and sparse tensors stay what they are."""
    return torch.rand_like(batch) if batch.is_floating_point() and not batch.is_sparse else batch


def _layout(tensor: torch.Tensor, images_last: bool) -> torch.memory_format:
    return torch.channels_last if images_last and tensor.dim() == 4 else torch.preserve_format


def _close(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.shape != other.shape:
        return False
    device = one.device.type
    kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
    if kind == torch.float32 and device == "cuda":
        # cuDNN's convolutions round to TF32, which has as many digits as float16.
        kind = torch.float16
    tolerance = max(_TOLERANCES[kind], _TOLERANCES.get(one.dtype, 0.0))
    one, other = one.float(), other.float()
    greatest = float(one.abs().nan_to_num(0.0, 0.0, 0.0).max()) if one.numel() else 0.0
    return torch.allclose(one, other, rtol=tolerance, atol=tolerance * greatest, equal_nan=True)
