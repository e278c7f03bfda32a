"""The barrier job on the driver: run by a thread of its own, so that the caller hears events and Ctrl-C meanwhile."""

from __future__ import annotations

import contextlib
import queue
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pyspark.sql import SparkSession

from sparkdl.cluster.job import Job, Outcome
from sparkdl.cluster.spool.ingest import Ingest
from sparkdl.cluster.task.bootstrap import make_task
from sparkdl.errors import ClusterError
from sparkdl.spark import files
from sparkdl.spark import session as spark_session
from sparkdl.spark.barrier import collect_barrier
from sparkdl.spark.facts import SessionFacts

_SCHEMA = "task int, part int, parts int, data binary"
_CANCELLED, _AGAIN = 30.0, 0.2
_INLINE = 32 << 20
"""Bytes of a job that travel inside the plan; a message of Spark Connect holds 128 MiB."""


class BarrierJob:
    """Runs one barrier job under its own tag.

    Parameters
    ----------
    spark : SparkSession
    facts : SessionFacts
    job : Job
    inbox : queue of dict or None
        Is given None when the job is over.
    resources : mapping of str to float, optional
        What each task gets, where that is not what the session says.
    ingest : Ingest, optional
        Rows for the tasks.
    """

    def __init__(
        self,
        spark: SparkSession,
        facts: SessionFacts,
        job: Job,
        inbox: queue.Queue[Mapping[str, Any] | None],
        resources: Mapping[str, float] | None = None,
        ingest: Ingest | None = None,
    ) -> None:
        self._spark = spark
        self._facts = facts
        self._job = job
        self._inbox = inbox
        self._resources = resources
        self._ingest = ingest
        self._tag = f"sparkdl-{secrets.token_hex(8)}"
        self._outcomes: list[Outcome] = []
        self._error: BaseException | None = None
        self._over = threading.Event()
        self._is_cancelled = False
        target = spark_session.in_this_session(spark, self._run)
        self._thread = threading.Thread(target=target, name="sparkdl-job", daemon=True)
        self._thread.start()

    @property
    def over(self) -> bool:
        """Whether the job has ended, in whatever way."""
        return self._over.is_set()

    def result(self) -> list[Outcome]:
        """Return the outcomes of the tasks, in the order of the ranks; raise what Spark raised. The job is over."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return sorted(self._outcomes, key=lambda outcome: outcome.rank)

    def cancel(self) -> None:
        """Cancel this job and no other until it is gone; wait for that, 30 s at most."""
        self._is_cancelled = True
        threading.Thread(target=self._cancel, name="sparkdl-cancel", daemon=True).start()
        self._thread.join(_CANCELLED)

    def _cancel(self) -> None:
        # A job that Spark still plans is none that could be cancelled: it starts later.
        while not self.over:
            spark_session.cancel_tag(self._spark, self._tag)
            self._over.wait(_AGAIN)

    def _task(self, data: bytes) -> Callable[[Iterator[Any]], Iterator[Any]]:
        if len(data) > _INLINE and self._facts.connect:
            # Executors keep what was sent in a folder that others of their host may read: the secret stays in the plan.
            plain, line_end, blobs = data.partition(b"\n")
            return make_task(plain + line_end, files.send_bytes(self._spark, blobs))
        return make_task(data)

    def _run(self) -> None:
        try:
            with spark_session.job_tag(self._spark, self._tag):
                task = self._task(self._job.to_bytes())
                dealt = None if self._ingest is None else (self._ingest.rows, self._ingest.by)
                size, resources = self._job.num_procs, self._resources
                if self._is_cancelled:
                    raise ClusterError("the barrier job was cancelled before it began")
                rows = collect_barrier(self._spark, self._facts, task, size, _SCHEMA, resources, dealt)
                self._outcomes = from_rows(rows)
        except BaseException as error:
            self._error = error
        finally:
            self._over.set()
            with contextlib.suppress(queue.Full):
                self._inbox.put(None, timeout=1)


def from_rows(rows: Any) -> list[Outcome]:
    """Put outcomes together again from the rows of `barrier.to_rows`, which may come in any order."""
    parts: dict[int, dict[int, bytes]] = {}
    sizes: dict[int, int] = {}
    for row in rows:
        parts.setdefault(row["task"], {})[row["part"]] = bytes(row["data"])
        sizes[row["task"]] = row["parts"]
    outcomes = []
    for task, found in parts.items():
        assert len(found) == sizes[task], f"task {task}: {len(found)} of {sizes[task]} parts"
        outcomes.append(Outcome.from_bytes(b"".join(found[part] for part in sorted(found))))
    return outcomes
