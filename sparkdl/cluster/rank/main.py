"""What a rank's process does: take its place, import torch, wait for the others, call the function, report.

The process is either a fresh interpreter (`main`) or a fork of the prefork server; `serve` is the same for both.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import random
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from sparkdl.cluster import script
from sparkdl.cluster.job import RankContext
from sparkdl.cluster.messages import (
    Abort,
    EventRecord,
    Heartbeat,
    Interrupted,
    Left,
    Message,
    PrepareRank,
    Raised,
    Ready,
    Returned,
    RunFunction,
)
from sparkdl.cluster.rank import context as rank_state
from sparkdl.cluster.rank import inherited, user_main
from sparkdl.cluster.rank.secondary_errors import is_secondary
from sparkdl.cluster.rank.watchdog import run_watched
from sparkdl.cluster.rpc import Channel
from sparkdl.cluster.spool.spool_file import RankSpoolSource
from sparkdl.comm.registry import BACKENDS
from sparkdl.errors import ClusterError, SparkDLError

_OWN_FILES = (__file__, user_main.__file__, script.__file__)
_EXCEPTION_BYTES = 16 << 20
_BEATS = 5.0

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Of glibc's mallopt."""
_KEPT_BYTES, _FROM_HEAP_BYTES = 1 << 29, 1 << 25


def main(settings: Mapping[str, Any]) -> None:
    """Guard a rank in this fresh interpreter. `settings` has the descriptors `lifeline` and `control`, and `folder`."""
    control = int(settings["control"])
    run_watched(int(settings["lifeline"]), str(settings["folder"]), (control,), lambda: serve(control))


def serve(control: int) -> None:
    """Be the rank at the other end of `control` from the first message to the exit of this process."""
    channel = Channel(socket.socket(fileno=control))
    first = channel.recv()
    if not isinstance(first, PrepareRank):
        os._exit(70)
    interrupts = _Interrupts(channel)
    message: Message
    try:
        _set_up(first)
        _send_heartbeats(channel, first.heartbeat_seconds)
        _preload(first.preload)
        _limit_threads(first.threads)
        keep_freed_memory()
        channel.send(Ready())
        work = channel.recv()
        if not isinstance(work, RunFunction):
            os._exit(70)
        interrupts.listen()
        message = _run(channel, work)
    except BaseException as error:
        message = _describe(error, interrupts.aborted)
    interrupts.stop()
    _flush()
    channel.try_send(message)
    _leave()


def _set_up(wanted: PrepareRank) -> None:
    # A fork of the prefork server must not differ from a fresh interpreter: all that a process inherits is set anew.
    inherited.take(wanted.inherited)
    os.environ.clear()
    os.environ.update(wanted.env)
    time.tzset()
    os.chdir(wanted.folder)
    sys.path[:] = wanted.path
    sys.argv[:] = [""]
    importlib.invalidate_caches()
    # The place of temporary files is computed once per process, from the environment it had then.
    tempfile.tempdir = None
    random.seed()
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(None)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.default_generator.seed()
    # A pipe makes Python buffer 8 KiB; the driver shall see each line when it is written.
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = open(  # noqa: SIM115
            descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _preload(names: Sequence[str]) -> None:
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            remedies = (spec.packages.get(name.partition(".")[0]) for spec in BACKENDS.values())
            remedy = next(filter(None, remedies), "install it on all hosts (docs/executors.md)")
            reason = str(error).partition("\n")[0]
            raise ClusterError(f"{sys.executable} cannot import {name} ({reason}): {remedy}") from error


def _limit_threads(threads: int) -> None:
    # The OpenMP library has read OMP_NUM_THREADS when it was loaded, in a fork long before.
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)


def keep_freed_memory() -> None:
    """Let this process keep up to 512 MiB that it has freed, and take blocks of up to 32 MiB from there.

    Each step allocates and frees its activations. By default glibc gives them back and asks for them again, and the
    system clears every page anew: a tenth of a step. What MALLOC_* variables say goes first.
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        return
    # Other C libraries have no mallopt.
    with contextlib.suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_MMAP_THRESHOLD, _FROM_HEAP_BYTES)


def _send_heartbeats(channel: Channel, seconds: float) -> None:
    def send() -> None:
        while channel.try_send(Heartbeat()):
            time.sleep(seconds)

    threading.Thread(target=send, name="sparkdl-heartbeat", daemon=True).start()


class _Interrupts:
    """Turns the task's `Abort` into KeyboardInterrupt in the main thread and tells the task that it got there."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._main = threading.get_ident()
        self._stopped = False
        self.aborted = False

    def listen(self) -> None:
        signal.signal(signal.SIGUSR1, self._on_signal)
        threading.Thread(target=self._listen, name="sparkdl-abort", daemon=True).start()

    def stop(self) -> None:
        self._stopped = True

    def _listen(self) -> None:
        while (received := self._channel.recv()) is not None:
            if isinstance(received, Abort):
                self.aborted = True
                signal.pthread_kill(self._main, signal.SIGUSR1)

    def _on_signal(self, *_: object) -> None:
        if self.aborted and not self._stopped:
            self._channel.try_send(Interrupted())
            raise KeyboardInterrupt("another rank has failed")


def _run(channel: Channel, work: RunFunction) -> Returned:
    import cloudpickle

    from sparkdl.comm import torch_pickle

    os.environ.update(work.env)

    def emit(record: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError, TypeError, ValueError):
            channel.send(EventRecord(record))

    context = RankContext(**work.context, emit=emit, spool_sources=_spool_sources(work))
    rank_state.enter(context)
    try:
        kwargs = cloudpickle.loads(work.arguments)
        folder = cloudpickle.loads(work.result_folder) if work.result_folder else None
    except Exception as error:
        raise ClusterError(
            f"rank {context.rank} on host {context.host} cannot unpack its arguments ({type(error).__name__}: "
            f"{error}): make the modules that they use available to the executors"
        ) from error
    module, _, name = work.function.partition(":")
    function = getattr(importlib.import_module(module), name)
    value = function(context, **kwargs)
    result = torch_pickle.dumps(value) if context.rank == 0 else b""
    limit = work.max_result_bytes
    if len(result) > limit:
        if folder is None:
            raise ClusterError(
                f"rank 0 returned {len(result):,} bytes, but this driver takes {limit:,} (half of "
                "spark.driver.maxResultSize and an eighth of spark.driver.memory at most): return less, save it from "
                "the rank, or raise these settings"
            )
        result = cloudpickle.dumps(folder.write(result))
    return Returned(result)


def _spool_sources(work: RunFunction) -> tuple[RankSpoolSource, ...]:
    """What the tasks hold for this rank; open to the end of its process."""
    if not work.spool_sources:
        return ()
    host, patience = str(work.context["host"]), float(work.context["heartbeat_timeout"])
    return tuple(RankSpoolSource(offered, work.spool_secret, host, patience) for offered in work.spool_sources)


def _describe(error: BaseException, aborted: bool) -> Raised | Left:
    """Return what the task needs to know of an exception, and the exception itself where it can be pickled."""
    if isinstance(error, SystemExit):
        return Left(f"called sys.exit({error.code!r})", aborted)
    # Our own frames say nothing about the user's code.
    below = error.__traceback__
    while below is not None and below.tb_frame.f_code.co_filename in _OWN_FILES:
        below = below.tb_next
    text = "".join(traceback.format_exception(type(error), error, below or error.__traceback__))
    return Raised(_sentence(error), text, aborted or is_secondary(error), _pickled(error))


def _sentence(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception as failure:
        text = f"<its text cannot be made: {failure!r}>"
    name = type(error).__qualname__ if not isinstance(error, SparkDLError) else type(error).__name__
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()) if "\n" not in note)
    return (f"{name}: {text}" if text else name) + notes


def _pickled(error: BaseException) -> bytes:
    import cloudpickle

    try:
        blob: bytes = cloudpickle.dumps(error)
        cloudpickle.loads(blob)
    except Exception:
        return b""
    return blob if len(blob) <= _EXCEPTION_BYTES else b""


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    with contextlib.suppress(Exception):
        ctypes.CDLL(None).fflush(None)


def _leave() -> None:
    """Run the exit functions, Horovod's among them, and end this process without the interpreter's own teardown.

    Threads of native libraries that still run make that teardown crash now and then, after the work is done.
    """
    import atexit

    with contextlib.suppress(BaseException):
        atexit._run_exitfuncs()
    _flush()
    os._exit(0)
