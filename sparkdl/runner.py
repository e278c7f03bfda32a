"""`HorovodRunner`: a function or a file of the user's on several ranks, by the signature that Databricks users know."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sparkdl.cluster.driver.launch import Launched, launch, launch_local
from sparkdl.cluster.driver.spec import Ranks
from sparkdl.cluster.script import read_script
from sparkdl.cluster.task.environment import visible_gpus
from sparkdl.errors import SettingError, invalid
from sparkdl.events import Listeners
from sparkdl.preflight.backend import check_backend
from sparkdl.preflight.cluster import check_cluster
from sparkdl.preflight.gpus import check_gpus, will_have_gpus
from sparkdl.preflight.packages import check_packages
from sparkdl.report.logs import LogPrinter
from sparkdl.spark.facts import SessionFacts
from sparkdl.spark.session import active_session

__all__ = ["HorovodRunner"]

_CALL = "sparkdl.cluster.rank.user_main:call"
_OTHER_BACKEND = "set backend='torch' and let the function meet the others by torch.distributed"


class HorovodRunner:
    """Runs a function, or a Python file, on several ranks that Horovod connects.

    Parameters
    ----------
    np : int
        Number of ranks. Above 0: in a barrier stage, one rank for each task slot, with that task's GPUs and CPUs.
        Below 0: `-np` ranks on the driver's host, for trying things out; no Spark session is needed. 0 is refused.
    driver_log_verbosity : str
        "log_callback_only": only `sparkdl.horovod.log_to_driver` speaks on the driver. "all": so does each line that
        a rank writes to standard output or standard error, with its rank in front. Always "all" with `np` below 0.
    backend : str
        "horovod"; "torch": the ranks find MASTER_ADDR and MASTER_PORT for `torch.distributed`; "local": one rank.
    device : str
        "auto": the task's GPUs, else the CPU; "cpu" hides the GPUs; "cuda" insists on one.
    env : mapping of str to str, optional
        Added to the environment of each rank.
    start_timeout, heartbeat_timeout : float
        Seconds: from the first task's start until all ranks have met, and for a heartbeat of one.
    task_resources : mapping of str to float, optional
        What each rank's task gets of its executor where that is not what the session says, by Spark's stage-level
        scheduling: ``{"cpus": 2, "gpu": 1}``. Needs pyspark 4.0 and a cluster; for `np` above 0.

    Raises
    ------
    SettingError
        If `np` is 0 or no whole number, or another argument is none of its possible values.
    """

    def __init__(
        self,
        *,
        np: int,
        driver_log_verbosity: str = "log_callback_only",
        backend: str = "horovod",
        device: str = "auto",
        env: Mapping[str, str] | None = None,
        start_timeout: float = 300,
        heartbeat_timeout: float = 600,
        task_resources: Mapping[str, float] | None = None,
    ) -> None:
        if isinstance(np, bool) or not isinstance(np, int):
            raise SettingError(invalid("np", np, "an integer: ranks on the cluster, or below 0 on the driver"))
        if np == 0:
            raise SettingError(
                invalid("np", np, "a number of ranks: np=2 runs two on the cluster, np=-2 two on the driver's host")
            )
        if driver_log_verbosity not in ("all", "log_callback_only"):
            raise SettingError(invalid("driver_log_verbosity", driver_log_verbosity, "'all' or 'log_callback_only'"))
        if task_resources and np < 0:
            raise SettingError(
                f"task_resources needs np above 0: np={np} runs {-np} ranks on the driver, without Spark"
            )
        self._np = np
        self._ranks = Ranks(
            abs(np),
            backend=backend,
            device=device,
            env=dict(env or {}),
            start_timeout=start_timeout,
            heartbeat_timeout=heartbeat_timeout,
            verbosity="all" if np < 0 else driver_log_verbosity,
            task_resources=dict(task_resources or {}),
        )

    @property
    def num_processes(self) -> int:
        """`np` as it was given, as Databricks' class has it."""
        return self._np

    def run(self, main: Callable[..., Any] | str | os.PathLike[str], *args: Any, **kwargs: Any) -> Any:
        """Call ``main(*args, **kwargs)``, or run a Python file, on every rank; return what the function does on rank 0.

        `main` calls ``hvd.init()`` itself. What a script or a notebook defines is sent by value, what a module defines
        by name. It runs in a working folder of its own that is removed at the end.

        Parameters
        ----------
        main : callable, str or path
            A path is that of a Python file on the driver. It runs as ``__main__``, with `args` as text in ``sys.argv``,
            and is sent along with the modules beside it that it imports, so that executors need not have it.
        *args, **kwargs
            For the function; a file takes no arguments by name.

        Returns
        -------
        object
            What the function returned on rank 0; None for a file.

        Raises
        ------
        SettingError
            If `main` or an argument cannot be pickled, `main` is no Python file of the driver's, or the driver's Python
            lacks what the backend needs.
        ClusterError
            If the cluster cannot run so many ranks, or an executor cannot run any.
        RankError
            If `main` raised; its `__cause__` is that exception where it can be pickled. RankLostError, a kind of it,
            if a rank ended without one: `sys.exit` (a file may leave with 0), `os._exit`, a signal.
        """
        if isinstance(main, (str, os.PathLike)):
            if kwargs:
                raise SettingError(
                    f"invalid {next(iter(kwargs))}={next(iter(kwargs.values()))!r}: a Python file takes its arguments "
                    "as a command line has them, one after the other: run('train.py', '--epochs', '3')"
                )
            return self._launch(read_script(main), [str(each) for each in args], {}).value
        if not callable(main):
            raise SettingError(f"invalid main={main!r}: expected a function, or the path of a Python file")
        return self._launch(main, args, kwargs).value

    def _launch(self, main: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Launched:
        arguments = {"main": main, "positional": list(args), "arguments": dict(kwargs)}
        # Output that cannot be printed must not end the training.
        printer = Listeners([LogPrinter()])
        ranks, resources, visible = self._ranks, self._ranks.task_resources, visible_gpus(os.environ)
        spark = active_session() if self._np > 0 else None
        facts = None if spark is None else SessionFacts.read(spark)
        gpus = will_have_gpus(facts, ranks.num_procs, device=ranks.device, visible=visible, resources=resources)
        check_backend(facts, ranks.backend, ranks.num_procs, gpus=gpus, remedy=_OTHER_BACKEND)
        if spark is None or facts is None:
            return launch_local(_CALL, arguments, ranks, listener=printer)
        check_packages()
        check_cluster(spark, facts, self._np, resources, name="np")
        check_gpus(facts, self._np, device=ranks.device, visible=visible, resources=resources, name="np")
        return launch(spark, facts, _CALL, arguments, ranks, listener=printer)
