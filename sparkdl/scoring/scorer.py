"""Batches through a network, in pure torch: rows at once, device, precision, and what to do when memory runs out."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from sparkdl.blame import out_of_memory
from sparkdl.errors import NetworkError
from sparkdl.iterators import closed_at_end
from sparkdl.network.channels_last import ROWS, prefers_channels_last
from sparkdl.network.check import captured, outputs_of
from sparkdl.scoring.ahead import started_ahead
from sparkdl.scoring.transfer import Fetch, Transfer, transfer_to
from sparkdl.scoring.tuning import rows_at_once
from sparkdl.train.precision import Precision

T = TypeVar("T")

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
        self._precision = Precision(settings.precision, self._device)
        self._module = module.to(self._device).eval()
        self._rows_at_once = settings.batch_size
        self._channels_last: bool | None = None

    @property
    def overlaps(self) -> bool:
        """Whether the device computes while the CPU does something else."""
        return self._device.type == "cuda"

    @property
    def rows_at_once(self) -> int:
        """Rows that are computed at once; 0 until the first ones have come."""
        return self._rows_at_once

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Return the outputs of the network, then those of the inner layers, on the CPU.

        Parameters
        ----------
        inputs : sequence of Tensor
            One for each input, (n, ...), n at least 1; those of uint8 are images, which become float32 in [0, 1].
        """
        return next(self.stream(iter([inputs])))

    def stream(self, batches: Iterator[Sequence[Tensor]]) -> Generator[list[Tensor], None, None]:
        """Yield what `__call__` returns for each of many batches, in order.

        On a GPU rows are copied there, and outputs back, while others are computed. On a CPU no batch is taken before
        the one before is done.

        Parameters
        ----------
        batches : iterator of sequence of Tensor
            Closed at the end. Of a batch without rows, [], the outputs are [].
        """
        transfer = transfer_to(self._device)
        parts: list[list[Tensor]] = []
        pieces = started_ahead(self._started(batches, transfer), _as_it_is, transfer.ahead)
        with closing(pieces):
            for fetch, last in pieces:
                if fetch is not None:
                    parts.append(fetch())
                if last:
                    done, parts = parts, []
                    yield done[0] if len(done) == 1 else [torch.cat(column) for column in zip(*done, strict=True)]

    def release(self) -> None:
        """Give back the device's memory that waits for more rows; other tasks may share the device."""
        if self.overlaps:
            torch.cuda.empty_cache()

    def _started(
        self, batches: Iterator[Sequence[Tensor]], transfer: Transfer
    ) -> Generator[tuple[Fetch | None, bool], None, None]:
        """Yield for each piece of each batch what waits for its outputs, and whether it is the batch's last one."""
        with closed_at_end(batches):
            for inputs in batches:
                rows, start = len(inputs[0]) if inputs else 0, 0
                if not rows:
                    yield None, True
                elif self._channels_last is None:
                    with _HOOKING:
                        self._tune([_rows(tensor, 0, ROWS) for tensor in inputs], transfer)
                while start < rows:
                    piece = [_rows(tensor, start, self._rows_at_once) for tensor in inputs]
                    fetch = self._begun(piece, transfer)
                    if fetch is not None:
                        start += len(piece[0])
                        yield fetch, start == rows

    def _begun(self, piece: Sequence[Tensor], transfer: Transfer) -> Fetch | None:
        """Begin with a piece; None: there was no memory for it, and fewer rows are computed at once from here on."""
        rows = len(piece[0])
        try:
            return self._forward(piece, transfer)
        except RuntimeError as error:
            if rows == 1 or not out_of_memory(error):
                raise
        # Here the error no longer holds the tensors of the failed pass. The task goes on with what fits.
        self._rows_at_once = rows // 2
        transfer.relieve()
        return None

    def _tune(self, inputs: Sequence[Tensor], transfer: Transfer) -> None:
        if self._channels_last is not None:
            return
        with torch.no_grad(), self._precision.autocast():
            given = transfer.send(inputs, images_last=False)
            images_last = prefers_channels_last(self._module, given)
            if not self._rows_at_once:
                self._rows_at_once = rows_at_once(self._module, given)
        # By this other threads see that they may go on.
        self._channels_last = images_last

    def _forward(self, piece: Sequence[Tensor], transfer: Transfer) -> Fetch:
        layers = self._settings.layers
        given = transfer.send(piece, images_last=bool(self._channels_last))
        hooking = _HOOKING if layers else nullcontext()
        with torch.no_grad(), self._precision.autocast(), hooking, captured(self._module, layers) as caught:
            outputs = [*outputs_of(self._module(*given)), *(caught[name] for name in layers)]
        for output in outputs:
            if output.dim() == 0 or len(output) != len(piece[0]):
                # Rows would be lost, or get what is others'.
                raise NetworkError(
                    f"the network returns {'a number' if output.dim() == 0 else f'{len(output)} rows'} for "
                    f"{len(piece[0])} rows: each output must have one row for each row of the inputs, in their order"
                )
        return transfer.fetch(outputs)


def _as_it_is(item: T) -> T:
    return item


def _rows(tensor: Tensor, start: int, count: int) -> Tensor:
    if not tensor.is_sparse:
        return tensor[start : start + count]
    # Sparse tensors have no views.
    return tensor.narrow_copy(0, start, min(count, len(tensor) - start))
