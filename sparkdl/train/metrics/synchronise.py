"""The states of torchmetrics objects, brought together over all ranks by one all-reduce."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sparkdl.comm.backend import Backend

if TYPE_CHECKING:
    from torchmetrics import Metric


def synchronise(metrics: Sequence[Metric], backend: Backend, device: torch.device) -> None:
    """Replace each metric's state by that of the rows of all ranks. Collective.

    What torchmetrics adds up is added up; all else is laid side by side and put together by the metric's own rule.
    """
    from torchmetrics.utilities import dim_zero_sum

    sums: list[tuple[Metric, str]] = []
    others: list[tuple[Metric, str]] = []
    for metric in metrics:
        for name, rule in metric._reductions.items():
            (sums if rule is dim_zero_sum else others).append((metric, name))
    counts = torch.tensor([float(m._update_count) for m in metrics], dtype=torch.float64, device=device)
    added = _packed([*(getattr(m, n) for m, n in sums)], device)
    beside = torch.zeros(backend.size, len(counts) + sum(getattr(m, n).numel() for m, n in others), device=device)
    beside = beside.double()
    beside[backend.rank] = torch.cat((counts, _packed([getattr(m, n) for m, n in others], device)))
    wire = torch.cat((added, beside.flatten()))
    backend.all_reduce(wire)
    beside = wire[len(added) :].view(beside.shape)
    for (metric, name), part in zip(
        sums, wire[: len(added)].split([getattr(m, n).numel() for m, n in sums]), strict=True
    ):
        state = getattr(metric, name)
        setattr(metric, name, part.view(state.shape).to(state.dtype))
    taken = {id(m): beside[:, i] > 0 for i, m in enumerate(metrics)}
    columns = beside[:, len(counts) :].split([getattr(m, n).numel() for m, n in others], dim=1)
    for (metric, name), column in zip(others, columns, strict=True):
        state, rule = getattr(metric, name), metric._reductions[name]
        stacked = column[taken[id(metric)]].reshape(-1, *state.shape).to(state.dtype)
        if len(stacked):
            setattr(metric, name, rule(stacked) if callable(rule) else stacked)
    for index, metric in enumerate(metrics):
        metric._update_count = int(beside[:, index].sum())


def _packed(states: list[Tensor], device: torch.device) -> Tensor:
    flat = [state.to(device, torch.float64).flatten() for state in states]
    return torch.cat(flat) if flat else torch.zeros(0, dtype=torch.float64, device=device)
