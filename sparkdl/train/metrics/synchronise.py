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

    What torchmetrics adds up is added up; all else is laid side by side, of the ranks that had rows, and put
    together by the metric's own rule, or by its `compute` where it has none.

    torchmetrics' own way, `dist_sync_fn`, comes to the same values, but it is called for each state alone (8 times for
    a correlation) and gathers from every rank what only has to be added up.
    """
    from torchmetrics.utilities import dim_zero_sum

    states = [(metric, name) for metric in metrics for name in metric._reductions]
    sums = [(m, n) for m, n in states if m._reductions[n] is dim_zero_sum]
    others = [(m, n) for m, n in states if m._reductions[n] is not dim_zero_sum]
    counts = torch.tensor([float(m._update_count) for m in metrics], dtype=torch.float64, device=device)
    added, mine = _packed(sums, device), torch.cat((counts, _packed(others, device)))
    wire = torch.zeros(len(added) + backend.size * len(mine), dtype=torch.float64, device=device)
    wire[: len(added)] = added
    beside = wire[len(added) :].view(backend.size, len(mine))
    beside[backend.rank] = mine
    backend.all_reduce(wire)
    for (metric, name), part in zip(sums, wire[: len(added)].split(_sizes(sums)), strict=True):
        state = getattr(metric, name)
        setattr(metric, name, part.view(state.shape).to(state.dtype))
    had_rows = {id(metric): beside[:, index] > 0 for index, metric in enumerate(metrics)}
    for (metric, name), part in zip(others, beside[:, len(counts) :].split(_sizes(others), dim=1), strict=True):
        state, rule = getattr(metric, name), metric._reductions[name]
        stacked = part[had_rows[id(metric)]].reshape(-1, *state.shape).to(state.dtype)
        if len(stacked):
            setattr(metric, name, rule(stacked) if callable(rule) else stacked)
    for index, metric in enumerate(metrics):
        metric._update_count = int(beside[:, index].sum())


def _packed(states: list[tuple[Metric, str]], device: torch.device) -> Tensor:
    flat = [getattr(metric, name).to(device, torch.float64).flatten() for metric, name in states]
    return torch.cat(flat) if flat else torch.zeros(0, dtype=torch.float64, device=device)


def _sizes(states: list[tuple[Metric, str]]) -> list[int]:
    return [getattr(metric, name).numel() for metric, name in states]
