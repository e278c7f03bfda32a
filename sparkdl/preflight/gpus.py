"""Which ranks will have a GPU, and whether those that need one can, where driver and settings already know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyspark.sql import SparkSession

from sparkdl.comm.installed import torch_has_gpus
from sparkdl.errors import ClusterError, SettingError
from sparkdl.spark import session as spark_session

_GPU = "gpu"
_OF_TASKS = "spark.task.resource.gpu.amount"


def will_have_gpus(
    spark: SparkSession | None,
    num_procs: int,
    *,
    device: str,
    visible: Sequence[str],
    resources: Mapping[str, float] | None = None,
) -> bool:
    """Return whether each rank will have a GPU, as far as the driver knows.

    Parameters
    ----------
    spark : SparkSession or None
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
    if spark is not None and _of_tasks(spark, resources):
        return True
    return (spark is None or spark_session.shares_host(spark)) and len(visible) >= num_procs and torch_has_gpus()


def check_gpus(
    spark: SparkSession,
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
    spark : SparkSession
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
    if _of_tasks(spark, resources) or spark_session.is_connect(spark):
        return
    if spark_session.is_local(spark):
        found = f"{name}={num_procs} on a local master, whose host shows {len(visible)}"
        remedy = f"lower {name}" if visible else "make GPUs visible (CUDA_VISIBLE_DEVICES)"
        if len(visible) >= num_procs:
            if torch_has_gpus():
                return
            found = "the torch in the driver's Python is built for CPUs"
            remedy = "run pip install --force-reinstall torch"
    else:
        found = f"the tasks are given none ({_OF_TASKS} is not set)"
        remedy = f"set {_OF_TASKS}, or taskResources={{'gpu': 1}}"
    if precision == "fp16":
        raise SettingError(
            f"precision='fp16' needs a GPU for each rank, and {found}: {remedy}, or take 'bf16' or 'float32'"
        )
    raise ClusterError(f"device='cuda' needs a GPU for each rank, and {found}: {remedy}, or use device='auto'")


def _of_tasks(spark: SparkSession, resources: Mapping[str, float] | None) -> bool:
    """Whether Spark gives GPUs to the tasks."""
    return bool((resources or {}).get(_GPU) or float(spark_session.conf(spark, _OF_TASKS, "0") or 0))
