"""Sums of ranks in one segment of memory, and who hears of a failure; the ranks are threads here."""

from __future__ import annotations

import os
import secrets
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparkdl.comm.segment import remove
from sparkdl.comm.shared_memory import PeerLostError, SharedMemory


def memories(size: int, timeout: float = 30.0) -> list[SharedMemory]:
    """Return what each of some ranks has of one segment."""
    name = f"sparkdl-test-{secrets.token_hex(8)}"
    try:
        return [SharedMemory(name, rank, size, timeout) for rank in range(size)]
    finally:
        remove(name)


def together(parts: list[SharedMemory], act: Any) -> list[Any]:
    """Let all ranks act at the same time; return what each has returned or raised."""
    found: list[Any] = [None] * len(parts)

    def run(rank: int) -> None:
        try:
            found[rank] = act(parts[rank])
        except Exception as error:
            found[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(len(parts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@settings(max_examples=10, deadline=None)
@given(
    size=st.integers(2, 5),
    lengths=st.lists(st.sampled_from([0, 1, 2, 100, 20_000, 1_200_000]), min_size=1, max_size=3),
    seed=st.integers(0, 2**32 - 1),
)
def test_sums_are_those_of_the_ranks_in_their_order(size: int, lengths: list[int], seed: int) -> None:
    def parts(rank: int) -> list[Any]:
        random = np.random.default_rng([seed, rank])
        return [random.standard_normal(length, dtype=np.float32) for length in lengths]

    def act(memory: SharedMemory) -> list[Any]:
        arrays = parts(memory.rank)
        for array in arrays:
            memory.sum(array)
        return arrays

    found = together(memories(size), act)
    expected = parts(0)
    for rank in range(1, size):
        expected = [total + part for total, part in zip(expected, parts(rank), strict=True)]
    for arrays in found:
        assert not isinstance(arrays, Exception)
        assert all(np.array_equal(one, other) for one, other in zip(arrays, expected, strict=True))


@pytest.mark.parametrize("root", [0, 2])
def test_bytes_of_one_rank_reach_all(root: int) -> None:
    def act(memory: SharedMemory) -> Any:
        array = np.arange(9_000_001, dtype=np.uint8) if memory.rank == root else np.zeros(9_000_001, dtype=np.uint8)
        memory.broadcast(array, root)
        memory.broadcast(array[:0], root)
        return array

    for array in together(memories(3), act):
        assert np.array_equal(array, np.arange(9_000_001, dtype=np.uint8))


def test_a_failed_rank_ends_the_waiting_of_the_others() -> None:
    def act(memory: SharedMemory) -> None:
        if memory.rank == 1:
            memory.fail()
        else:
            memory.sum(np.ones(3))

    first, second, third = together(memories(3), act)
    assert second is None
    for error in (first, third):
        assert isinstance(error, PeerLostError)
        assert str(error) == "another rank of this host has failed"


def test_a_rank_that_does_not_come_is_named() -> None:
    with pytest.raises(PeerLostError, match=r"ranks \[1\] of this host did not come within 0\.2 s"):
        memories(2, timeout=0.2)[0].meet()


def test_a_segment_is_its_owners_alone_and_leaves_no_file() -> None:
    name = f"sparkdl-test-{secrets.token_hex(8)}"
    path = Path("/dev/shm") / name
    try:
        SharedMemory(name, 0, 2, 1.0)
        assert path.stat().st_mode & 0o777 == 0o600
        with pytest.raises(FileExistsError):
            SharedMemory(name, 0, 2, 1.0)
        os.truncate(path, 10)
        with pytest.raises(PermissionError, match="is not the segment of this job"):
            SharedMemory(name, 1, 2, 1.0)
    finally:
        remove(name)
    with pytest.raises(FileNotFoundError):
        SharedMemory(name, 1, 2, 1.0)
