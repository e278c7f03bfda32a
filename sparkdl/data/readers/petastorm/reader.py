# ruff: noqa: E402
"""Row groups through Petastorm's Reader: its data set and thread pool, our order and our decoding.

Petastorm's own ventilator draws its order once and its workers turn rows into columns of Python objects. So the reader
gets a ventilator that asks for the ranges of the plan, in the plan's order, and workers that hand on packed rows; what
its threads bring out of turn waits until its turn comes. One Reader serves all epochs of a loader.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from sparkdl.data.readers.petastorm import compat

# Petastorm cannot be imported on today's pyarrow before this.
compat.apply()

import pyarrow as pa
from petastorm.reader import Reader
from petastorm.workers_pool.thread_pool import ThreadPool
from petastorm.workers_pool.ventilator import Ventilator
from petastorm.workers_pool.worker_base import WorkerBase

from sparkdl.data.format.manifest import PACKED, Manifest
from sparkdl.data.format.row_layout import Block
from sparkdl.data.loading.shuffle_buffer import Read
from sparkdl.data.readers import AHEAD
from sparkdl.data.readers.formats import open_files
from sparkdl.data.readers.packed import RowGroupFiles
from sparkdl.errors import DataError
from sparkdl.storage import urls

_JOIN_SECONDS = 30.0


class PetastormReader:
    """Reads with `threads` threads of Petastorm's pool, that many ranges and two more ahead of the consumer."""

    def __init__(self, manifest: Manifest, threads: int, storage_options: Mapping[str, Any]) -> None:
        self._files = open_files(manifest, storage_options)
        self._threads = threads
        self._run = 0
        if manifest.format != PACKED:
            self._reader = _PlannedReader.without_a_look(ThreadPool(threads), _worker_class(self._files))
            return
        paths, file_system = _paths(manifest, storage_options)
        try:
            self._reader = _PlannedReader(
                file_system,
                paths,
                worker_class=_worker_class(self._files),
                reader_pool=ThreadPool(threads),
                shuffle_row_groups=False,
            )
        except (OSError, pa.ArrowException) as error:
            # Petastorm reads every footer and does not say which of the files it stumbled over.
            try:
                self._files.open_all()
            finally:
                self._files.close()
            raise DataError(f"Petastorm cannot open the rows in {manifest.url}: {error}") from error

    def blocks(self, reads: Iterable[Read]) -> Iterator[Block]:
        """Yield the rows of each range, in order."""
        self._run += 1
        run = self._run
        wanted = enumerate(reads)
        self._ask(run, wanted, self._threads + AHEAD)
        early: dict[int, Block] = {}
        turn = 0
        while self._reader.ventilator.asked(run) > turn:
            while turn not in early:
                number, block = self._next(run)
                early[number] = block
            self._ask(run, wanted, 1)
            yield early.pop(turn)
            turn += 1

    def close(self) -> None:
        """End Petastorm's threads and close the files."""
        self._reader.stop()
        # Idle threads look only now and then whether they are to stop.
        for _ in range(self._threads):
            self._reader.ventilator.wake()
        # Petastorm waits for its threads without a limit; one that hangs in a file system must not hang the rank.
        waiting = threading.Thread(target=self._reader.join, name="sparkdl-petastorm-join", daemon=True)
        waiting.start()
        waiting.join(_JOIN_SECONDS)
        if not waiting.is_alive():
            self._files.close()

    def _ask(self, run: int, wanted: Iterator[tuple[int, Read]], count: int) -> None:
        for number, one in islice(wanted, count):
            self._reader.ventilator.ask(run, number, one)

    def _next(self, run: int) -> tuple[int, Block]:
        """The next result of this run; those of runs that were left early are dropped."""
        for of_run, number, result in self._reader:
            if of_run != run:
                continue
            if isinstance(result, BaseException):
                raise result
            return number, result
        raise DataError("Petastorm's reader has ended before all rows of the epoch were read")


class _PlannedReader(Reader):  # type: ignore[misc]
    """Petastorm's Reader, told by the plan what to read."""

    @classmethod
    def without_a_look(cls, pool: ThreadPool, worker_class: Any) -> _PlannedReader:
        """Return a reader that begins without Petastorm's look at the data set.

        It reads every footer, and knows no nested arrays; the manifest says already what the files hold.
        """
        reader: _PlannedReader = cls.__new__(cls)
        reader.schema = reader.ngram = None
        reader.last_row_consumed = reader.stopped = False
        reader._results_queue_reader = worker_class.new_results_queue_reader()
        reader._workers_pool = pool
        reader.ventilator = _PlanVentilator(pool.ventilate)
        pool.start(worker_class, None, ventilator=reader.ventilator)
        return reader

    def _create_ventilator(self, *args: Any, **kwargs: Any) -> _PlanVentilator:
        return _PlanVentilator(self._workers_pool.ventilate)


class _PlanVentilator(Ventilator):  # type: ignore[misc]
    """Hands the pool what it is asked for; it has no thread and no end but `stop`."""

    def __init__(self, ventilate: Any) -> None:
        super().__init__(ventilate)
        self._stopped = False
        self._asked = (0, 0)

    def ask(self, run: int, number: int, wanted: Read) -> None:
        """Let a worker read a range."""
        self._asked = (run, number + 1)
        self._ventilate_fn(run=run, number=number, wanted=wanted)

    def wake(self) -> None:
        """Give a worker nothing to do."""
        self._ventilate_fn(run=0, number=0, wanted=None)

    def asked(self, run: int) -> int:
        """Return how many ranges of a run were asked for."""
        return self._asked[1] if self._asked[0] == run else 0

    def start(self) -> None: ...

    def processed_item(self) -> None: ...

    def completed(self) -> bool:
        return self._stopped

    def stop(self) -> None:
        self._stopped = True


class _Results:
    """How Petastorm's Reader takes results from its pool: as they are."""

    batched_output = True

    def read_next(self, workers_pool: Any, schema: Any, ngram: Any) -> tuple[int, int, Any]:
        result: tuple[int, int, Any] = workers_pool.get_results()
        return result


def _worker_class(files: RowGroupFiles) -> type:
    """Return a worker that reads from `files`; the pool makes its workers from a class alone."""

    class RowWorker(WorkerBase):  # type: ignore[misc]
        @staticmethod
        def new_results_queue_reader() -> _Results:
            return _Results()

        def process(self, run: int, number: int, wanted: Read | None) -> None:
            if wanted is None:
                return
            result: Block | BaseException
            try:
                result = files.read(*wanted)
            # Raised by the consumer; raised here it would end the thread and be printed.
            except Exception as error:
                result = error
            self.publish_func((run, number, result))

    return RowWorker


def _paths(manifest: Manifest, storage_options: Mapping[str, Any]) -> tuple[list[str], Any]:
    """The files as Petastorm wants them: paths, and the file system if it is not the local one."""
    every = [urls.join(manifest.url, file.path) for file in manifest.files]
    if urls.is_local(manifest.url):
        return [urls.local_path(url) for url in every], None
    file_system, base = urls.file_system(manifest.url, storage_options)
    return [urls.join(base, file.path) for file in manifest.files], file_system
