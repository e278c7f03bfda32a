"""Ranks on the driver's host without Spark: the tasks are threads that meet in this process."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Mapping
from typing import Any

from sparkdl.cluster.job import Job, Outcome
from sparkdl.cluster.messages import Offer
from sparkdl.cluster.task.task import Here, Task
from sparkdl.errors import ClusterError


class LocalJob:
    """Runs the tasks of one job in threads of this process, each with its rank in a process of its own.

    Parameters
    ----------
    job : Job
    inbox : queue of dict or None
        Is given None when a task has ended.
    """

    def __init__(self, job: Job, inbox: queue.Queue[Mapping[str, Any] | None]) -> None:
        self._job = job
        self._inbox = inbox
        self._meeting = threading.Barrier(job.num_procs)
        self._offers = [Offer()] * job.num_procs
        self._outcomes: list[Outcome | None] = [None] * job.num_procs
        self._running = set(range(job.num_procs))
        self._errors: list[BaseException] = []
        self._tasks: list[Task] = []
        threads = max(1, len(os.sched_getaffinity(0)) // job.num_procs)
        hosts = ("127.0.0.1",) * job.num_procs
        self._tasks = [Task(job, Here(index, hosts, (), threads)) for index in range(job.num_procs)]
        self._threads = [
            threading.Thread(target=self._run, args=(index,), name=f"sparkdl-task-{index}", daemon=True)
            for index in range(job.num_procs)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def over(self) -> bool:
        """Whether every task has ended."""
        return not self._running

    def result(self) -> list[Outcome]:
        """Return the outcomes in the order of the ranks; the job is over."""
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise next((e for e in self._errors if not isinstance(e, threading.BrokenBarrierError)), self._errors[0])
        return [outcome for outcome in self._outcomes if outcome is not None]

    def cancel(self) -> None:
        """End the ranks and wait for the tasks, 30 s at most."""
        self._meeting.abort()
        for task in self._tasks:
            task.cancel()
        for thread in self._threads:
            thread.join(30)

    def _run(self, index: int) -> None:
        task = self._tasks[index]
        try:
            self._offers[index] = task.offer()
            self._meeting.wait(self._job.start_timeout)
            self._outcomes[index] = task.run(self._offers)
        except ClusterError as error:
            self._outcomes[index] = task.refusal(str(error))
            self._meeting.abort()
        except BaseException as error:
            self._errors.append(error)
            self._meeting.abort()
        finally:
            task.close()
            self._running.discard(index)
            with contextlib.suppress(queue.Full):
                self._inbox.put(None, timeout=1)
