"""Arrow arrays as tensors for a network, decoded by several threads where a task has several CPUs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from sparkdl.data.types import to_tensor, type_of
from sparkdl.schema import Field

T = TypeVar("T")

Columns = Sequence[pa.Array]
"""Of one input: one array, or one for each of the columns that are stacked."""

Waits = Callable[[], T]
"""Waits for something that has begun, and returns it."""

_FEWEST = 16
"""Images for which a second thread is worth its while."""


class Decoder:
    """Makes tensors of rows.

    Parameters
    ----------
    fields : sequence of Field
        Inputs of the network, in its order.
    pool : Executor or None
        Decodes; None: the thread that waits does.
    threads : int
        Of the pool.
    aside : bool
        Whether to make all tensors in the pool, beside the thread that calls: a GPU computes meanwhile. Images are put
        into pinned memory then.
    """

    def __init__(self, fields: Sequence[Field], pool: ThreadPoolExecutor | None, threads: int, aside: bool) -> None:
        self._fields = fields
        self._pool = pool
        self._threads = threads
        self._aside = aside

    def begin(self, arrays: Sequence[Columns]) -> Waits[list[Tensor]]:
        """Begin to make tensors of the same rows of each input, without nulls; images stay uint8, (n, 3, H, W)."""
        parts = [self._one(columns, field) for columns, field in zip(arrays, self._fields, strict=True)]
        return lambda: [wait() for wait in parts]

    def _one(self, columns: Columns, field: Field) -> Waits[Tensor]:
        if type_of(field).late and field.known:
            return self._images(columns[0], field)
        make = partial(to_tensor, columns, field)
        return self._run(make) if self._aside else make

    def _images(self, column: pa.Array, field: Field) -> Waits[Tensor]:
        kind, rows = type_of(field), len(column)
        memory = _memory((rows, *kind.decoded_shape(field)), kind.stored_dtype(field), pinned=self._aside)
        values = kind.in_shape(memory.numpy(), field)
        # Twice as many parts as threads, because images differ.
        size = max(_FEWEST, -(-rows // (2 * self._threads)))
        if self._pool is None or (rows <= _FEWEST and not self._aside):
            size = max(1, rows)
        fill = self._run if size < rows or self._aside else _later
        filled = [
            fill(partial(kind.fill, column.slice(start, size), field, values[start : start + size]))
            for start in range(0, rows, size)
        ]

        def wait() -> Tensor:
            kind.check_sizes([found for each in filled for found in each()], field)
            # The view that `values` is, but of torch's own memory, of which torch knows while it is copied.
            strides = [stride // memory.element_size() for stride in values.strides]
            return memory.as_strided(values.shape, strides)

        return wait

    def _run(self, make: Callable[[], T]) -> Waits[T]:
        if self._pool is None:
            return _later(make)
        future: Future[T] = self._pool.submit(make)
        return future.result


@contextmanager
def decoder(fields: Sequence[Field], threads: int, aside: bool) -> Iterator[Decoder]:
    """Yield a decoder whose threads end with the block; a single one is only started to work beside a GPU.

    Parameters
    ----------
    fields, aside
        As `Decoder` has them.
    threads : int
        CPUs that there are to decode.
    """
    if not aside and (threads == 1 or not any(type_of(field).late for field in fields)):
        yield Decoder(fields, None, 1, aside)
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix="sparkdl-decode")
    try:
        yield Decoder(fields, pool, threads, aside)
    finally:
        pool.shutdown(cancel_futures=True)


def _later(make: Callable[[], T]) -> Waits[T]:
    return make


def _memory(shape: Sequence[int], dtype: str, *, pinned: bool) -> Tensor:
    kind: Any = getattr(torch, np.dtype(dtype).name)
    if pinned:
        try:
            return torch.empty(tuple(shape), dtype=kind, pin_memory=True)
        except RuntimeError:
            # The host gives no more of it; the copy to the GPU takes longer then.
            pass
    return torch.empty(tuple(shape), dtype=kind)
