"""Three Horovod ranks, shared by all tests of this folder, batches in memory, and the devices of this host."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch


class MemoryBatch(NamedTuple):
    inputs: tuple[torch.Tensor, ...]
    targets: tuple[torch.Tensor, ...]
    weights: torch.Tensor | None
    planned_rows: int

    def for_network(self, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return inputs


class MemoryFeed:
    """Rows in memory, in order; each step's rows are dealt out to the ranks by shares, the last rank has the rest."""

    def __init__(
        self,
        inputs: Any,
        targets: Any,
        weights: torch.Tensor | None = None,
        batch: int = 10,
        backend: Any = None,
        shares: Sequence[int] | None = None,
    ) -> None:
        self.inputs = inputs if isinstance(inputs, tuple) else (inputs,)
        self.targets = targets if isinstance(targets, tuple) else (targets,)
        self.weights, self.batch = weights, batch
        self.rows = len(self.inputs[0])
        self.steps = -(-self.rows // batch)
        self.rank, self.size = (0, 1) if backend is None else (backend.rank, backend.size)
        self.shares = shares
        self.wait_seconds = 0.0
        self.begun: list[int] = []
        self.left_early = 0

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[MemoryBatch]:
        self.begun.append(epoch)
        try:
            for step in range(start_step, self.steps):
                low = step * self.batch
                rows = min(self.batch, self.rows - low)
                mine = self._mine(low, rows)
                yield MemoryBatch(
                    tuple(t[mine] for t in self.inputs),
                    tuple(t[mine] for t in self.targets),
                    None if self.weights is None else self.weights[mine],
                    rows,
                )
        except GeneratorExit:
            self.left_early += 1
            raise

    def _mine(self, low: int, rows: int) -> slice:
        if self.shares is None:
            return slice(low + rows * self.rank // self.size, low + rows * (self.rank + 1) // self.size)
        begin = min(rows, sum(self.shares[: self.rank]))
        end = rows if self.rank == self.size - 1 else min(rows, begin + self.shares[self.rank])
        return slice(low + begin, low + end)

    def close(self) -> None:
        pass


@pytest.fixture(params=["cpu", *(["cuda"] if torch.cuda.is_available() else [])], scope="module")
def device(request: pytest.FixtureRequest) -> str:
    """Run a test on a CPU, and on a GPU where there is one; what a fit leaves behind is on the CPU in any case."""
    return str(request.param)


@pytest.fixture(scope="session")
def memory_feed() -> type[MemoryFeed]:
    """Return the class, for tests and their ranks."""
    return MemoryFeed


def _ranks() -> Any:
    path = Path(__file__).parents[1] / "comm" / "ranks.py"
    spec = importlib.util.spec_from_file_location("sparkdl_test_train_ranks", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def ranks() -> Iterator[Any]:
    """A group of three ranks, of Horovod where it is built: `ranks.run(function)` calls function(backend) on each."""
    with _ranks().open_ranks("horovod" if importlib.util.find_spec("horovod") else "torch", 3) as pool:
        yield pool
