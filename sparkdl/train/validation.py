"""Rows that are only measured: one pass over a feed, after which the ranks meet once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import closing

import torch
from torch import Tensor

from sparkdl.comm.backend import Backend
from sparkdl.train.config import Feed
from sparkdl.train.device_network import DeviceNetwork
from sparkdl.train.metrics import MetricSet

_HELD = 64
"""Batches whose losses are added up together: to add each of them takes a GPU as long as a small layer."""

Sums = list[tuple[Tensor, Tensor | float]]
"""Of each output of a batch: weight x loss, and the weights."""


@torch.no_grad()
def validate(
    network: DeviceNetwork, feed: Feed, measured: MetricSet, backend: Backend, device: torch.device
) -> dict[str, float]:
    """Return loss and metrics over the rows of a feed on all ranks. Collective.

    Parameters
    ----------
    network : DeviceNetwork
        Is put into evaluation mode.
    feed : Feed
    measured : MetricSet
        Is given the outputs, and begins anew.
    backend : Backend
    device : torch.device
    """
    network.module.eval()
    objective = network.objective
    sums = torch.zeros(0, 2, dtype=torch.float64, device=device)
    held: list[Sums] = []
    with closing(network.on_device(feed.epoch(0))) as batches:
        for batch in batches:
            if not len(sums):
                sums = sums.new_zeros(len(batch.targets), 2)
            if batch.count:
                outputs = network.forward(batch.inputs)
                held.append(objective.sums(outputs, batch.targets, batch.weights))
                measured.update(outputs, batch.targets)
            if len(held) == _HELD:
                sums += _added(held)
                held.clear()
    if held:
        sums += _added(held)
    backend.all_reduce(sums)
    loss, metrics = objective.mean(sums.tolist()), measured.compute()
    if math.isnan(loss) and (sums[:, 1] > 0).any():
        measured.reasons["loss"] = "the network, or the loss, returns NaN or infinity for some of the rows"
    return {"loss": loss, **metrics}


def _added(batches: Sequence[Sums]) -> Tensor:
    """Return the sums of some batches, (outputs, 2) float64."""
    columns = []
    for output in zip(*batches, strict=True):
        losses = torch.stack([loss for loss, _ in output]).double().sum()
        known = sum(weight for _, weight in output if not isinstance(weight, Tensor))
        counted = [weight for _, weight in output if isinstance(weight, Tensor)]
        weight = torch.stack(counted).double().sum() + known if counted else torch.full_like(losses, known)
        columns.append(torch.stack([losses, weight]))
    return torch.stack(columns)
