"""The module with its loss on a device, and its batches on their way there."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

import torch
from torch import Tensor, nn

from sparkdl.blame import is_misfit
from sparkdl.errors import NetworkError
from sparkdl.iterators import closed_at_end
from sparkdl.train.compiled import Compiled
from sparkdl.train.config import FeedBatch, TrainConfig
from sparkdl.train.device_copy import DeviceBatch, SideStream
from sparkdl.train.indices import EmbeddedInputs
from sparkdl.train.objectives import Objective, as_outputs
from sparkdl.train.precision import Precision


class DeviceNetwork:
    """The module with its loss: the forward pass of training and validation alike.

    Parameters
    ----------
    module : nn.Module
        On `device`.
    config : TrainConfig
    device : torch.device
    """

    def __init__(self, module: nn.Module, config: TrainConfig, device: torch.device) -> None:
        self.module = module
        self._call = Compiled(module, config.compile) if config.compile else module
        self.objective = Objective(config, device)
        self.precision = Precision(config.precision, device)
        self._device = device
        self._labels = config.label_names
        self._order = torch.channels_last if config.channels_last else torch.contiguous_format
        self._proven = False
        self._side = SideStream(device) if device.type == "cuda" else None
        self._embedded = EmbeddedInputs(module)

    def on_device(self, batches: Iterator[FeedBatch]) -> Generator[DeviceBatch, None, None]:
        """Yield the batches on the device; to a GPU each is copied while the step before it runs there."""
        with closed_at_end(batches):
            for batch in batches:
                yield self._copied(batch)

    def _copied(self, batch: FeedBatch) -> DeviceBatch:
        """Return the rows of a batch that count, on the device. Rows of weight 0 are left out: they equal no row."""
        inputs, targets, weights = batch.inputs, batch.targets, batch.weights
        rows = len(targets[0])
        if weights is not None and len(weights) and int(torch.count_nonzero(weights)) < len(weights):
            kept = weights.nonzero().squeeze(1)
            inputs, targets = tuple(t.index_select(0, kept) for t in inputs), tuple(t[kept] for t in targets)
            weights = weights[kept]
        if self._side is not None:
            self._embedded.check(inputs)
            self.objective.check(targets)
        count, width = len(targets[0]), len(inputs)
        sent = self._sent((*inputs, *targets, *(() if weights is None else (weights,))))
        inputs, targets = tuple(sent[:width]), tuple(sent[width : width + len(targets)])
        weights = None if weights is None else sent[-1]
        # Bytes of images come in the order of a decoder, channels last, and are put in another one here if at all.
        inputs = tuple(t.contiguous(memory_format=self._order) if _is_image(t) else t for t in inputs)
        return DeviceBatch(batch.for_network(inputs), targets, weights, count, rows, batch.planned_rows)

    def _sent(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        return tensors if self._side is None else self._side.send(tensors)

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the outputs, as float32 where autocast has made them shorter."""
        with self.precision.autocast():
            try:
                with self._embedded.watched(inputs):
                    outputs = as_outputs(self._call(*inputs), self._labels)
            except (RuntimeError, TypeError, IndexError) as error:
                if self._side is None:
                    self._embedded.check(inputs)
                # Subclasses (out of memory, a lost rank, ...) are no matter of shapes, and what the user's code raises.
                if isinstance(error, NotImplementedError) and any(tensor.is_sparse for tensor in inputs):
                    raise self.precision.without_sparse(error) from error
                known = type(error) in (RuntimeError, TypeError, IndexError)
                if self._proven or not known or not is_misfit(error):
                    raise
                shapes = ", ".join(f"{tuple(x.shape)} {str(x.dtype).removeprefix('torch.')}" for x in inputs)
                raise NetworkError(f"the network does not take inputs of {shapes}: {error}") from error
        self._proven = True
        return tuple(o.float() if o.dtype in (torch.bfloat16, torch.float16) else o for o in outputs)


def device_of(config: TrainConfig) -> torch.device:
    """Return the device of the settings: of several GPUs the one that is this process's."""
    return torch.device("cuda", torch.cuda.current_device()) if config.device == "cuda" else torch.device("cpu")


def laid_out(module: nn.Module, config: TrainConfig) -> nn.Module:
    """Return the module with its parameters in the order in memory that the settings ask for, in place."""
    return module.to(memory_format=torch.channels_last) if config.channels_last else module  # type: ignore[call-overload]


def _is_image(tensor: Tensor) -> bool:
    """Whether a tensor is a batch of images, or as good as one to a convolution."""
    return tensor.dim() == 4 and not tensor.is_sparse
