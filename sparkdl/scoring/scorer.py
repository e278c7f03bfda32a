"""Batches through a network, in pure torch: rows at once, device, precision, and what to do when memory runs out."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn

from sparkdl.blame import out_of_memory
from sparkdl.network.channels_last import ROWS, owned, prefers_channels_last
from sparkdl.network.check import captured, outputs_of
from sparkdl.scoring.tuning import rows_at_once
from sparkdl.train.precision import check_device

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}

# Of the process and not of a scorer, which can be pickled.
_HOOKING = threading.Lock()
"""Held while layers have hooks: they would catch what other threads compute with the same network."""


@dataclass(frozen=True)
class ScorerSettings:
    """How to compute.

    Attributes
    ----------
    batch_size : int
        Rows at once; 0 leaves it to the scorer.
    device : str
        As torch names it: "cpu", "cuda:0".
    precision : str
        "float32", "bf16" or "fp16".
    layers : tuple of str
        Inner layers whose outputs are wanted too.
    """

    batch_size: int = 0
    device: str = "cpu"
    precision: str = "float32"
    layers: tuple[str, ...] = ()


class Scorer:
    """A network in evaluation mode on its device; several threads may call it at once.

    Parameters
    ----------
    module : nn.Module
        Moved to the device and put into evaluation mode.
    settings : ScorerSettings

    Raises
    ------
    SettingError
        If the device does not know the precision.
    """

    def __init__(self, module: nn.Module, settings: ScorerSettings) -> None:
        self._settings = settings
        self._device = torch.device(settings.device)
        check_device(settings.precision, self._device.type)
        self._module = module.to(self._device).eval()
        self._rows_at_once = settings.batch_size
        self._channels_last: bool | None = None

    def __call__(self, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Return the outputs of the network, then those of the inner layers, on the CPU.

        Parameters
        ----------
        inputs : sequence of Tensor
            One for each input, (n, ...), n at least 1.
        """
        if self._channels_last is None:
            with _HOOKING:
                self._tune([_rows(tensor, 0, ROWS).to(self._device) for tensor in inputs])
        rows = len(inputs[0])
        parts: list[list[torch.Tensor]] = []
        start = 0
        while start < rows:
            piece = [_rows(tensor, start, self._rows_at_once) for tensor in inputs]
            try:
                parts.append(self._forward(piece))
                start += len(piece[0])
                continue
            except RuntimeError as error:
                if len(piece[0]) == 1 or not out_of_memory(error):
                    raise
            # Here the error no longer holds the tensors of the failed pass. The task goes on with what fits.
            self._rows_at_once = len(piece[0]) // 2
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
        if len(parts) == 1:
            return parts[0]
        return [torch.cat(column) for column in zip(*parts, strict=True)]

    def _tune(self, inputs: Sequence[torch.Tensor]) -> None:
        if self._channels_last is not None:
            return
        with torch.no_grad(), self._precision():
            images_last = prefers_channels_last(self._module, inputs, self._settings.precision)
            if not self._rows_at_once:
                self._rows_at_once = rows_at_once(self._module, inputs)
        # By this other threads see that they may go on.
        self._channels_last = images_last

    def _forward(self, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        layers = self._settings.layers
        given = owned(inputs, self._device, images_last=bool(self._channels_last))
        hooking = _HOOKING if layers else nullcontext()
        with torch.no_grad(), self._precision(), hooking, captured(self._module, layers) as caught:
            outputs = outputs_of(self._module(*given))
            return [tensor.detach().cpu() for tensor in (*outputs, *(caught[name] for name in layers))]

    def _precision(self) -> AbstractContextManager[None]:
        kind = _TYPES.get(self._settings.precision)
        if kind is None:
            return nullcontext()
        return torch.autocast(self._device.type, dtype=kind)


def _rows(tensor: torch.Tensor, start: int, count: int) -> torch.Tensor:
    if not tensor.is_sparse:
        return tensor[start : start + count]
    # Sparse tensors have no views.
    return tensor.narrow_copy(0, start, min(count, len(tensor) - start))
