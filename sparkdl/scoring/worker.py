"""What a Spark task does with the batches that it gets."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pyarrow as pa
import torch

from sparkdl.errors import SettingError
from sparkdl.scoring.cache import loaded
from sparkdl.scoring.plan import ScoringPlan
from sparkdl.scoring.scorer import Scorer
from sparkdl.scoring.ship import fetch
from sparkdl.spark.functions import TaskResources, task_resources


def score_batches(
    plan: ScoringPlan, name: str, local_master: bool, batches: Iterator[Sequence[pa.Array]]
) -> Iterator[pa.Array]:
    """Score a task's batches with the network of the file `name`.

    Yields
    ------
    pyarrow.Array
        For each batch its column; of several a struct, named "0", "1", ... because a column may have any name.
    """
    resources = task_resources()
    # More threads than the task has CPUs cost a multiple of the time.
    torch.set_num_threads(resources.cpus)
    device = choose_device(plan.settings.device, resources, local_master)
    settings = replace(plan.settings, device=device)
    scorer = Scorer(loaded(name, device, lambda: fetch(name)), settings)
    _settle()
    names = [str(place) for place in range(len(plan.columns))]
    for arrays in batches:
        columns = plan.score(scorer, arrays)
        yield columns[0] if len(columns) == 1 else pa.StructArray.from_arrays(columns, names=names)


def _settle() -> None:
    """Let the garbage collector pass over what a worker keeps anyway, from its first task on.

    Spark's daemon collects after each task. With the objects of torch that took 0.1 s, more than scoring 50,000 rows.
    """
    if gc.get_freeze_count() == 0:
        gc.collect()
        gc.freeze()


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
