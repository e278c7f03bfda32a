"""Which ranks will have a GPU, and whether those that need one can, where driver and settings already know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sparkdl.comm.installed import torch_has_gpus
from sparkdl.errors import ClusterError, SettingError
from sparkdl.spark.facts import TASK_GPUS, SessionFacts

_GPU = "gpu"


def will_have_gpus(
    facts: SessionFacts | None,
    num_procs: int,
    *,
    device: str,
    visible: Sequence[str],
    resources: Mapping[str, float] | None = None,
) -> bool:
    """Return whether each rank will have a GPU, as far as the driver knows.

    Parameters
    ----------
    facts : SessionFacts or None
        None: the ranks run on this host, without Spark.
    num_procs : int
    device : str
        "cpu" hides all GPUs.
    visible : sequence of str
        GPUs that the driver's host shows; the ranks of a local master share them out.
    resources : mapping of str to float, optional
        What each rank's task gets where that is not what the session says.
    """
    if device == "cpu":
        return False
    if facts is not None and _of_tasks(facts, resources):
        return True
    return (facts is None or facts.shares_host) and len(visible) >= num_procs and torch_has_gpus()


def check_gpus(
    facts: SessionFacts,
    num_procs: int,
    *,
    device: str,
    precision: str = "float32",
    visible: Sequence[str],
    resources: Mapping[str, float] | None = None,
    name: str = "numProcs",
) -> None:
    """Refuse ranks that insist on a GPU where none of them will have one.

    Parameters
    ----------
    facts : SessionFacts
        Over Spark Connect a setting that is not there may only be hidden: then the tasks find out.
    num_procs : int
    device : str
        "cuda" insists on GPUs.
    precision : str
        "fp16" does so too.
    visible : sequence of str
        GPUs that the driver's host shows; the ranks of a local master share them out.
    resources : mapping of str to float, optional
        What each rank's task gets where that is not what the session says.
    name : str
        How the user calls the number of ranks.

    Raises
    ------
    SettingError
        For precision="fp16".
    ClusterError
        For device="cuda".
    """
    if device == "cpu" or (device != "cuda" and precision != "fp16"):
        return
    if _of_tasks(facts, resources) or facts.connect:
        return
    if facts.local:
        found = f"{name}={num_procs} on a local master, whose host shows {len(visible)}"
        remedy = f"lower {name}" if visible else "make GPUs visible (CUDA_VISIBLE_DEVICES)"
        if len(visible) >= num_procs:
            if torch_has_gpus():
                return
            found = "the torch in the driver's Python is built for CPUs"
            remedy = "run pip install --force-reinstall torch"
    else:
        found = f"the tasks are given none ({TASK_GPUS} is not set)"
        remedy = f"set {TASK_GPUS}, or taskResources={{'gpu': 1}}"
    if precision == "fp16":
        raise SettingError(
            f"precision='fp16' needs a GPU for each rank, and {found}: {remedy}, or take 'bf16' or 'float32'"
        )
    raise ClusterError(f"device='cuda' needs a GPU for each rank, and {found}: {remedy}, or use device='auto'")


def _of_tasks(facts: SessionFacts, resources: Mapping[str, float] | None) -> bool:
    """Whether Spark gives GPUs to the tasks."""
    return bool((resources or {}).get(_GPU) or facts.task_gpus)
