"""What a job asks for: how many ranks, of which kind, and how long they may take."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sparkdl.cluster.driver.pickling import driver_path, driver_versions, pickle_arguments
from sparkdl.cluster.job import Job
from sparkdl.comm.registry import BACKENDS, backends_for, spec_for
from sparkdl.errors import SettingError, invalid, one_of

_DEVICES = ("auto", "cpu", "cuda")
_VERBOSITIES = ("all", "log_callback_only")


@dataclass(frozen=True)
class Ranks:
    """The ranks of one launch.

    Attributes
    ----------
    num_procs : int
        At least 1; a single rank takes the backend "local".
    backend : str
        "horovod", "torch" or "local": "auto" has been resolved before (`preflight.backend`).
    device : str
        "auto", "cpu" or "cuda".
    env : mapping of str to str
        Added to the environment of each rank.
    start_timeout : float
        Seconds from the start of the first task until all ranks have met. Waiting for task slots does not count.
    heartbeat_timeout : float
        Seconds without a heartbeat of a rank, after which it counts as lost.
    verbosity : str
        "all": each line that a rank writes becomes a `RankOutput` event; "log_callback_only": none does.
    task_resources : mapping of str to float
        What each rank's task gets of its executor ("cpus", "gpu"), by stage-level scheduling; empty: what the session
        says.

    Raises
    ------
    SettingError
        If a value is none of its possible ones.
    """

    num_procs: int
    backend: str = "horovod"
    device: str = "auto"
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    start_timeout: float = 300.0
    heartbeat_timeout: float = 600.0
    verbosity: str = "log_callback_only"
    task_resources: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.num_procs < 1:
            raise SettingError(f"num_procs={self.num_procs} is no number of ranks: give 1 or more")
        for name, value, possible in (
            ("backend", self.backend, BACKENDS),
            ("device", self.device, _DEVICES),
            ("verbosity", self.verbosity, _VERBOSITIES),
        ):
            if value not in possible:
                raise SettingError(invalid(name, value, one_of(possible)))
        if self.backend not in backends_for(self.num_procs):
            raise SettingError(
                f"backend={self.backend!r} runs one rank, not {self.num_procs}: use 'horovod' or 'torch'"
            )
        for name, seconds in (("start_timeout", self.start_timeout), ("heartbeat_timeout", self.heartbeat_timeout)):
            if not seconds > 0:
                raise SettingError(invalid(name, seconds, "seconds > 0"))

    def job(self, function: str, kwargs: Mapping[str, Any]) -> Job:
        """Return the message for the tasks, with what does not depend on Spark.

        Raises
        ------
        SettingError
            If an argument cannot be sent.
        """
        backend = spec_for(self.backend, self.num_procs)
        return Job(
            function=function,
            num_procs=self.num_procs,
            backend=backend.name,
            packages=backend.packages,
            versions=driver_versions(),
            secret=secrets.token_hex(32),
            env={str(name): str(value) for name, value in self.env.items()},
            sys_path=driver_path(),
            device=self.device,
            start_timeout=float(self.start_timeout),
            heartbeat_timeout=float(self.heartbeat_timeout),
            verbosity=self.verbosity,
            blob=pickle_arguments(kwargs),
        )
