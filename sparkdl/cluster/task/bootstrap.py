"""The function that the barrier stage runs, by value: it needs nothing but the standard library and Spark's worker.

`make_task` executes this file's source under a name that no module has, so that cloudpickle sends the code
itself. So an executor without sparkdl, without torch or with other versions answers with a sentence and its host,
where unpickling a function of the package would end in a ModuleNotFoundError. Nothing here may refer to sparkdl outside
of `_take_part` and `_meet`.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.metadata
import importlib.util
import inspect
import json
import os
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

FORMAT_VERSION = 1
_NEEDED = ("sparkdl", "pyarrow", "cloudpickle", "torch")
_EXACT = ("sparkdl",)
_DISTRIBUTIONS = {"sparkdl": "sparkdl-torch"}
"""Under which name pip installs a package, where it is another."""


def lacking(expected: dict[str, str], packages: dict[str, str]) -> str | None:
    """Return what this Python lacks for a job and what to do, as the end of a sentence; None if nothing.

    Parameters
    ----------
    expected : dict of str to str
        The driver's versions.
    packages : dict of str to str
        What the job's backend needs, and what to do where it is missing or another.
    """
    problem = check_versions(expected, _NEEDED)
    if problem is not None:
        return f"{problem}: install the same on all hosts"
    for name, remedy in packages.items():
        problem = check_versions(expected, (name,), exact=(name,))
        if problem is not None:
            return f"{problem}: {remedy}"
    return None


def check_versions(expected: dict[str, str], needed: tuple[str, ...], exact: tuple[str, ...] = _EXACT) -> str | None:
    """Return what this Python lacks in comparison with the driver's, as the end of a sentence; None if nothing."""
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if python != expected["python"]:
        return f"has Python {python}, the driver has {expected['python']}"
    for name in needed:
        version = version_of(name)
        if version is None:
            return f"has no {_DISTRIBUTIONS.get(name, name)}{_namesake(name)}"
        wanted = expected.get(name)
        if wanted is not None and _public(version, name in exact) != _public(wanted, name in exact):
            return f"has {name} {version}, the driver has {wanted}"
    return None


def version_of(name: str) -> str | None:
    """Return the version of a package without importing it (sparkdl's own import is quick); None if it is missing."""
    spec = importlib.util.find_spec(name)
    if spec is None or _namesake(name):
        return None
    if name == "sparkdl":
        # Not installed but on the path, it has no metadata.
        return str(importlib.import_module("sparkdl.version").__version__)
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _namesake(name: str) -> str:
    """Return where another project's sparkdl lies, as a part of a sentence; "" if the one that is imported is ours."""
    spec = importlib.util.find_spec(name) if name == "sparkdl" else None
    if spec is None:
        return ""
    folders = list(spec.submodule_search_locations or ())
    # PyPI's sparkdl is of 2018. importlib.util.find_spec would import it first, and with it what it needs.
    if importlib.machinery.PathFinder.find_spec("sparkdl.cluster", folders) is not None:
        return ""
    return f" but another project's sparkdl ({spec.origin or folders[0]})"


def _public(version: str, exact: bool) -> str:
    # CPU and GPU builds of one torch differ after the plus; a patch release of torch or pyarrow does no harm.
    public = version.partition("+")[0]
    return public if exact else ".".join(public.split(".")[:2])


def run_task(data: bytes, batches: Iterator[Any]) -> Iterator[Any]:
    """Run one barrier task: compare versions, meet the others, run the rank, and yield its outcome's rows."""
    for row in _answer(data, batches):
        yield _batch(row)


def _batch(row: dict[str, Any]) -> Any:
    # pyarrow imports pandas as soon as it converts a Python list, which takes a second: so the buffers are made here.
    import pyarrow

    names = ["task", "part", "parts"]
    columns = [
        pyarrow.Array.from_buffers(pyarrow.int32(), 1, [None, pyarrow.py_buffer(struct.pack("=i", row[name]))])
        for name in names
    ]
    offsets = pyarrow.py_buffer(struct.pack("=2i", 0, len(row["data"])))
    data = pyarrow.Array.from_buffers(pyarrow.binary(), 1, [None, offsets, pyarrow.py_buffer(row["data"])])
    return pyarrow.RecordBatch.from_arrays([*columns, data], names=[*names, "data"])


def _answer(data: bytes, batches: Iterator[Any]) -> Iterator[dict[str, Any]]:
    from pyspark import BarrierTaskContext

    context = BarrierTaskContext.get()
    index = context.partitionId()
    fields = json.loads(data.partition(b"\n")[0])
    if fields.get("ingest") is None:
        for _ in batches:
            # Spark throws a Python worker away whose task has left rows unread.
            pass
    addresses = [info.address for info in context.getTaskInfos()]
    problem = lacking(fields["versions"], fields["packages"])
    if problem is None:
        yield from _take_part(data, context, addresses, batches)
        return
    _gather(context, json.dumps({"message": "Offer", "problem": problem}), fields["start_timeout"])
    host = addresses[index]
    outcome = {
        "formatVersion": FORMAT_VERSION,
        "kind": "environment",
        "rank": index,
        "host": host,
        "message": f"the executor at {host} ({sys.executable}) {problem}",
        "order": index,
    }
    yield {"task": index, "part": 0, "parts": 1, "data": json.dumps(outcome).encode() + b"\n"}


def _take_part(data: bytes, context: Any, addresses: list[str], batches: Iterator[Any]) -> Iterator[dict[str, Any]]:
    from sparkdl.cluster.job import Job
    from sparkdl.cluster.messages import from_text
    from sparkdl.cluster.task.task import Here, Task, to_rows
    from sparkdl.cluster.task.topology import host_of

    job = Job.from_bytes(data)
    gpus = context.resources().get("gpu")
    here = Here(
        index=context.partitionId(),
        hosts=tuple(host_of(address) for address in addresses),
        gpus=tuple(gpus.addresses) if gpus is not None else (),
        threads=max(1, context.cpus()),
    )
    ingested, rounds = None, 0
    if job.ingest is not None:
        from sparkdl.cluster.spool.ingest import ingest_rows

        ingested = ingest_rows(job, here, batches, lambda *said: _meet(job, context, *said))
        rounds = ingested.rounds
        if ingested.spool_file is None:
            if ingested.outcome is not None:
                yield from to_rows(ingested.outcome)
            return
    task = Task(job, here, ingested)
    try:
        offers: list[Any] = [from_text(text) for text in _meet(job, context, _offer(task), job.start_timeout, rounds)]
        if not any(offer.problem for offer in offers):
            yield from to_rows(task.run(offers))
        elif offers[here.index].problem:
            yield from to_rows(task.refusal(offers[here.index].problem))
    finally:
        task.close()


def _offer(task: Any) -> str:
    from sparkdl.cluster.messages import Offer, to_text

    try:
        return to_text(task.offer())
    except Exception as error:
        # Who does not come to the meeting lets the others wait.
        return to_text(Offer(problem=f"{type(error).__name__}: {error}"))


def _meet(job: Any, context: Any, offer: str, timeout: float, number: int) -> list[str]:
    if not job.local_master or job.driver is None:
        return _gather(context, offer, timeout)
    from sparkdl.cluster.task.barrier_sync import meet

    return meet(job.driver, job.secret, context.partitionId(), offer, timeout, number)


def _gather(context: Any, message: str, timeout: float) -> list[str]:
    answers: list[list[str]] = []
    failures: list[BaseException] = []

    def gather() -> None:
        try:
            answers.append(context.allGather(message))
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=gather, name="sparkdl-gather", daemon=True)
    thread.start()
    thread.join(timeout)
    if failures:
        raise failures[0]
    if not answers:
        raise TimeoutError(f"the tasks of the barrier stage did not meet within {timeout:g} s")
    return answers[0]


def received(name: str) -> bytes:
    """Return the content of a file that the session has sent to its executors; from now on only this user reads it."""
    from pyspark import SparkFiles

    path = SparkFiles.get(name)
    with contextlib.suppress(OSError):
        os.chmod(path, 0o600)
    with open(path, "rb") as file:
        return file.read()


def make_task(data: bytes, sent: str | None = None) -> Callable[[Iterator[Any]], Iterator[Any]]:
    """Return the function for `mapInArrow`; it carries this file's code by value, and the job's bytes too.

    Parameters
    ----------
    data : bytes
        The job; only its line of plain fields where `sent` is given.
    sent : str, optional
        Name of a file with the rest, which the session has sent to its executors. The secret is not in it.
    """
    source = inspect.getsource(sys.modules[__name__])
    namespace: dict[str, Any] = {"__name__": "sparkdl_bootstrap", "__builtins__": __builtins__}
    exec(compile(source, "sparkdl_bootstrap.py", "exec"), namespace)
    run: Callable[[bytes, Iterator[Any]], Iterator[Any]] = namespace["run_task"]
    fetch: Callable[[str], bytes] = namespace["received"]

    def task(batches: Iterator[Any]) -> Iterator[Any]:
        return run(data if sent is None else data + fetch(sent), batches)

    # By its name cloudpickle would take it for a function of this module.
    task.__module__ = "sparkdl_bootstrap"
    return task
