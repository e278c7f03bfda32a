"""What a Spark task does with the batches that it gets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import pyarrow as pa
import torch
from torch import nn

from sparkdl.errors import SettingError
from sparkdl.scoring.decoder import Columns
from sparkdl.scoring.model_cache import loaded
from sparkdl.scoring.score_plan import ScoringPlan
from sparkdl.scoring.scorer import Scorer
from sparkdl.scoring.ship import fetch
from sparkdl.spark.functions import TaskResources, task_resources


def score_batches(
    plan: ScoringPlan,
    name: str,
    local_master: bool,
    batches: Iterator[Sequence[pa.Array]],
    load: Callable[[], nn.Module] | None = None,
) -> Iterator[pa.Array]:
    """Score a task's batches with the network of the file `name`, which `load` reads, or `ship.fetch`.

    Yields
    ------
    pyarrow.Array
        For each batch its column; of several a struct, named "0", "1", ... because a column may have any name.
    """
    resources = task_resources()
    device = choose_device(plan.settings.device, resources, local_master)
    settings = replace(plan.settings, device=device)
    scorer = Scorer(loaded(name, device, load or partial(fetch, name)), settings)
    names = [str(index) for index in range(len(plan.columns))]
    results = plan.stream(scorer, _inputs(plan, batches, torch.get_num_threads()), resources.cpus)
    try:
        while True:
            with _threads(resources.cpus):
                columns = next(results, None)
            if columns is None:
                return
            yield columns[0] if len(columns) == 1 else pa.StructArray.from_arrays(columns, names=names)
    finally:
        results.close()
        scorer.release()


def _inputs(plan: ScoringPlan, batches: Iterator[Sequence[pa.Array]], threads: int) -> Iterator[list[Columns]]:
    """Yield the inputs of each batch; the code that brings it has the `threads` that it has without us."""
    while True:
        with _threads(threads):
            arrays = next(batches, None)
        if arrays is None:
            return
        yield plan.repaired([[array] for array in arrays])


@contextmanager
def _threads(cpus: int) -> Iterator[None]:
    """Let torch compute with so many threads: more of them than the task has CPUs cost a multiple of the time.

    For one batch at a time, because Spark's workers run code of others too.
    """
    before = torch.get_num_threads()
    if before == cpus:
        yield
        return
    torch.set_num_threads(cpus)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def choose_device(device: str, resources: TaskResources, local_master: bool) -> str:
    """Return the device of a task: its own GPU, on a local master a visible one, else the CPU.

    Raises
    ------
    SettingError
        If "cuda" was asked for and there is none.
    """
    visible = torch.cuda.device_count() if device != "cpu" else 0
    if visible and resources.gpus:
        address = resources.gpus[0]
        # Where the cluster manager hides other GPUs, the task's address is not torch's number.
        return f"cuda:{address}" if address.isdigit() and int(address) < visible else "cuda:0"
    if visible and local_master:
        return f"cuda:{resources.partition % visible}"
    if device == "cuda":
        raise SettingError(
            "device='cuda', but this task has no GPU: give Spark tasks GPUs (spark.task.resource.gpu.amount), "
            "or set device to 'auto'"
        )
    return "cpu"
