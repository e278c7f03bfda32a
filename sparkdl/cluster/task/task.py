"""One task of the barrier stage: it starts its rank, meets the others, supervises, and answers with an Outcome."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sparkdl.cluster.job import ENVIRONMENT, RANK_LOST, TIMED_OUT, Job, Outcome
from sparkdl.cluster.messages import JoinControl, Offer, PrepareRank, RunFunction
from sparkdl.cluster.prefork import client
from sparkdl.cluster.rank.inherited import settable
from sparkdl.cluster.rank.process import RankProcess, start_fresh
from sparkdl.cluster.rpc import connect, derived
from sparkdl.cluster.spool.spool_file import SPOOL
from sparkdl.cluster.task import environment
from sparkdl.cluster.task.coordinator import Coordinator
from sparkdl.cluster.task.event_stream import EventStream
from sparkdl.cluster.task.rendezvous import RENDEZVOUS, open_rendezvous
from sparkdl.cluster.task.supervisor import Supervisor
from sparkdl.cluster.task.topology import assign, coordinator_host, interface_towards
from sparkdl.comm.registry import Meeting, spec_of
from sparkdl.comm.segment import SEGMENT, remove

if TYPE_CHECKING:
    from sparkdl.cluster.spool.ingest import Ingested

CHUNK_BYTES = 4 << 20
_END_GRACE = 30.0


@dataclass(frozen=True)
class Here:
    """What Spark says of one task.

    Attributes
    ----------
    index : int
        Number of the task in the stage.
    hosts : tuple of str
        Host of every task, in order.
    gpus : tuple of str
        Addresses of the GPUs that Spark has given to this task.
    threads : int
        CPUs of the task.
    """

    index: int
    hosts: tuple[str, ...]
    gpus: tuple[str, ...] = ()
    threads: int = 1


class Task:
    """One rank's task, in two steps around the meeting: `offer` before it, `run` with what all have offered.

    The rank's process starts in `offer`, so that it imports torch while the tasks meet.

    Parameters
    ----------
    job : Job
    here : Here
    taken : Taken, optional
        The rows that this task has ingested; let go by `close`.
    """

    def __init__(self, job: Job, here: Here, ingested: Ingested | None = None) -> None:
        self._job = job
        self._here = here
        self._started = time.monotonic()
        self._topologies = assign(here.hosts)
        self._topology = self._topologies[here.index]
        self._ingested = ingested
        self._closing = contextlib.ExitStack()
        if ingested is not None and ingested.spool_file is not None:
            self._closing.callback(ingested.spool_file.close)
        self._coordinator: Coordinator | None = None
        self._event_stream: EventStream | None = None
        self._process: RankProcess | None = None
        self._device = "cpu"

    def offer(self) -> Offer:
        """Start the rank, and in task 0 the coordinator and the rendezvous; return what the others must know."""
        job = self._job
        gpus = self._gpus()
        self._device = "cuda" if gpus else "cpu"
        env = environment.base_environment(environment.inherited_environment(), job.env, self._here.threads, gpus)
        path = rank_path(job.sys_path, sys.path)
        if job.prefork:
            # The server imports torch while this task opens its coordinator.
            client.prewarm_server(env, path, function_module(job))
        offer = self._open_coordinator() if self._here.index == 0 else Offer()
        if self._ingested is not None:
            offer = replace(offer, spool_source=self._ingested.offer)
        process = start_rank(job, env, path)
        self._process = process
        self._closing.callback(process.close)
        process.control.send(
            PrepareRank(
                env=env,
                path=path,
                folder=process.folder,
                threads=self._here.threads,
                heartbeat_seconds=min(5.0, job.heartbeat_timeout / 4),
                preload=["torch", *spec_of(job.backend).preload],
                inherited=settable(),
            )
        )
        return offer

    def run(self, offers: Sequence[Offer]) -> Outcome:
        """Supervise the rank to its end. `offers` are those of all tasks, in order."""
        assert self._process is not None
        host = coordinator_host(self._here.hosts)
        output = EventStream(self._topology.rank)
        self._closing.callback(lambda: output.close(1))
        try:
            address = (host, offers[0].coordinator or 0)
            coordinator = connect(address, self._job.secret, self._left())
            self._closing.callback(coordinator.close)
            output.connect(connect(address, self._job.secret, self._left()))
        except OSError as error:
            return self._unreachable(f"{address[0]}:{address[1]}", error)
        coordinator.limit_sending(self._job.heartbeat_timeout)
        coordinator.send(JoinControl(self._topology.rank))
        work = self._work(host, offers)
        supervisor = Supervisor(self._job, self._topology, self._process, coordinator, output, work, self._started)
        outcome = supervisor.run()
        unsent = output.close(_END_GRACE)
        if self._coordinator is not None and self._event_stream is not None:
            unsent += self._end_coordinator(self._coordinator, self._event_stream)
        spool = (
            {}
            if self._ingested is None or self._ingested.spool_file is None
            else {"spool": self._ingested.spool_file.seconds}
        )
        return replace(outcome, events=unsent, seconds={**outcome.seconds, **spool})

    def refusal(self, problem: str) -> Outcome:
        """Return the outcome of a task that could not even offer its rank."""
        return Outcome(
            kind=ENVIRONMENT,
            rank=self._topology.rank,
            host=self._topology.host,
            message=f"rank {self._topology.rank} cannot run on host {self._topology.host}: {problem}",
            order=self._topology.rank,
        )

    def cancel(self) -> None:
        """End the rank now; `run`, in another thread, then comes to its end."""
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """End what still runs and release everything."""
        self._closing.close()

    def _left(self) -> float:
        return max(1.0, self._started + self._job.start_timeout - time.monotonic())

    def _gpus(self) -> tuple[str, ...]:
        visible = environment.usable_gpus(os.environ) if self._job.local_master else None
        return environment.gpus_of_rank(self._job.device, self._here.gpus, visible, self._topology)

    def _open_coordinator(self) -> Offer:
        job = self._job
        host = coordinator_host(self._here.hosts)
        self._event_stream = EventStream(0)
        self._event_stream.dial(job.driver, job.secret, 5.0)
        event_stream = self._event_stream
        self._closing.callback(lambda: event_stream.close(1))
        self._coordinator = Coordinator(
            self._topology.size,
            job.secret,
            host,
            start_timeout=job.start_timeout,
            heartbeat_timeout=job.heartbeat_timeout,
            forward=self._event_stream.put,
        )
        self._closing.callback(self._coordinator.close)
        secret = derived(job.secret, RENDEZVOUS)
        rendezvous = open_rendezvous(spec_of(job.backend).rendezvous, host, secret, self._topologies)
        if rendezvous is not None:
            self._closing.callback(rendezvous.close)
        port = None if rendezvous is None else rendezvous.port
        return Offer(coordinator=self._coordinator.port, rendezvous=port)

    def _work(self, host: str, offers: Sequence[Offer]) -> RunFunction:
        job, topology = self._job, self._topology
        port = offers[0].rendezvous
        interface = interface_towards(self._here.hosts, topology.host)
        meeting = (
            None
            if port is None
            else Meeting((host, port), interface, job.start_timeout, derived(job.secret, RENDEZVOUS))
        )
        env = environment.rendezvous_environment(topology, job.backend, meeting)
        if meeting is not None:
            # The host is a part of it: what Spark takes for two hosts may be one.
            segment = f"sparkdl-{derived(job.secret, f'segment {topology.host}')}"
            env[SEGMENT] = segment
            self._closing.callback(lambda: remove(segment))
        return RunFunction(
            function=job.function,
            env={**env, **job.env},
            max_result_bytes=job.max_result_bytes,
            spool_secret=derived(job.secret, SPOOL),
            spool_sources=[offer.spool_source for offer in offers if offer.spool_source is not None],
            result_folder=job.result_folder,
            arguments=job.blob,
            context={
                "rank": topology.rank,
                "size": topology.size,
                "local_rank": topology.local_rank,
                "local_size": topology.local_size,
                "backend": job.backend,
                "device": self._device,
                "threads": self._here.threads,
                "host": topology.host,
                "start_timeout": job.start_timeout,
                "heartbeat_timeout": job.heartbeat_timeout,
            },
        )

    def _unreachable(self, address: str, error: OSError) -> Outcome:
        return Outcome(
            kind=TIMED_OUT if isinstance(error, TimeoutError) else RANK_LOST,
            rank=self._topology.rank,
            host=self._topology.host,
            message=f"the task of rank {self._topology.rank} on host {self._topology.host} cannot reach that of rank 0 "
            f"at {address}: {error}",
            order=self._topology.rank,
        )

    def _end_coordinator(self, coordinator: Coordinator, event_stream: EventStream) -> tuple[Mapping[str, Any], ...]:
        # The others may take much longer than rank 0; the coordinator itself gives up a rank that is lost.
        coordinator.wait_ended(_END_GRACE)
        coordinator.close()
        return event_stream.close(_END_GRACE)


def start_rank(job: Job, env: Mapping[str, str], path: Sequence[str]) -> RankProcess:
    """Return a rank forked from the prefork server where that is allowed and works, else a fresh interpreter."""
    if job.prefork:
        process = client.start_preforked(env, path, function_module(job), min(client.PATIENCE, job.start_timeout / 2))
        if process is not None:
            return process
    return start_fresh(env, path)


def function_module(job: Job) -> str:
    """Return the module of the job's function."""
    return job.function.partition(":")[0]


def rank_path(wanted: Sequence[str], present: Sequence[str]) -> list[str]:
    """Return the sys.path of a rank: the driver's folders that exist here, then those of this process."""
    found = [entry for entry in wanted if os.path.exists(entry)]
    return list(dict.fromkeys([*found, *(os.path.abspath(entry) for entry in present)]))


def to_rows(outcome: Outcome) -> Iterator[dict[str, Any]]:
    """Cut an outcome into rows of at most 4 MiB: rank, part, parts, data."""
    data = memoryview(outcome.to_bytes())
    parts = max(1, -(-len(data) // CHUNK_BYTES))
    for part in range(parts):
        chunk = bytes(data[part * CHUNK_BYTES : (part + 1) * CHUNK_BYTES])
        yield {"task": outcome.rank, "part": part, "parts": parts, "data": chunk}
