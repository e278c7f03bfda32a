"""Rows on their way to the device of a network, and its outputs on their way back.

On a GPU both go on streams of their own, beside the kernels of the current one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sparkdl.data.convert.tensors import scaled
from sparkdl.train.device_copy import SideStream

Fetch = Callable[[], list[Tensor]]
"""Waits for outputs, and returns them on the CPU."""


class Transfer:
    """For a CPU: nothing is under way when a method returns. Made for one thread.

    Parameters
    ----------
    device : torch.device
    """

    ahead = 0
    """Pieces that should be under way while the results of another are used."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def send(self, inputs: Sequence[Tensor], images_last: bool) -> list[Tensor]:
        """Return copies on the device, as a network takes them; it may write into them.

        Parameters
        ----------
        inputs : sequence of Tensor
            On the CPU; those of uint8 are images, which become float32 in [0, 1].
        images_last : bool
            Whether batches of images get their channels last in memory.
        """
        return [_own(tensor, self._device, images_last) for tensor in inputs]

    def fetch(self, outputs: Sequence[Tensor]) -> Fetch:
        """Begin to bring outputs to the CPU."""
        fetched = [tensor.detach().cpu() for tensor in outputs]
        return lambda: fetched

    def relieve(self) -> None:
        """Make room after the device had no memory left."""


class GpuTransfer(Transfer):
    """For a GPU: rows go there from pinned memory, and outputs come back into pinned memory, while it computes."""

    ahead = 2

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self._there = SideStream(device)
        self._back = torch.cuda.Stream(device)

    def send(self, inputs: Sequence[Tensor], images_last: bool) -> list[Tensor]:
        # Bytes of images become numbers there: a quarter is copied. What was copied is the network's own.
        return [_in_order(tensor, images_last) for tensor in self._there.send(inputs)]

    def fetch(self, outputs: Sequence[Tensor]) -> Fetch:
        computed = torch.cuda.current_stream(self._device).record_event()
        self._back.wait_event(computed)
        with torch.cuda.stream(self._back):
            # A copy to the CPU that need not be waited for lies in pinned memory, torch sees to that.
            fetched = [self._fetched(tensor.detach()) for tensor in outputs]
            # A thread that waits for it leaves its core to those that decode.
            done = torch.cuda.Event(blocking=True)
            done.record(self._back)

        def wait() -> list[Tensor]:
            done.synchronize()
            return fetched

        return wait

    def relieve(self) -> None:
        torch.cuda.synchronize(self._device)
        torch.cuda.empty_cache()

    def _fetched(self, output: Tensor) -> Tensor:
        if output.device.type != "cuda" or output.is_sparse:
            return output.cpu()
        # Its memory is the other stream's, which must not use it again before it is copied.
        output.record_stream(self._back)
        # Here, in this order: torch would order what it has copied without waiting for the copy.
        return output.contiguous().to("cpu", non_blocking=True)


def transfer_to(device: torch.device) -> Transfer:
    """Return how rows get to a device and back."""
    return GpuTransfer(device) if device.type == "cuda" else Transfer(device)


def _own(tensor: Tensor, device: torch.device, images_last: bool) -> Tensor:
    if tensor.dtype == torch.uint8:
        return _in_order(tensor.to(device), images_last)
    order = torch.channels_last if images_last and tensor.dim() == 4 else torch.preserve_format
    return tensor.to(device, copy=True, memory_format=order)


def _in_order(tensor: Tensor, images_last: bool) -> Tensor:
    """The tensor, of which nobody else knows, with images as numbers and in the wanted order in memory."""
    order = torch.channels_last if images_last else torch.contiguous_format
    if tensor.dtype == torch.uint8:
        return scaled(tensor, order)
    return tensor.contiguous(memory_format=order) if tensor.dim() == 4 and not tensor.is_sparse else tensor
