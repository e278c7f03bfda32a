"""The interface between a rank and the others. `solo`, `hvd` and `ddp` implement it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class Backend(ABC):
    """A group of ranks. Every method is collective unless it says otherwise: all ranks call it, in the same order.

    Attributes
    ----------
    rank, size, local_rank : int
        Place among all ranks, their number, place among those of this host.
    name : str
        "local", "horovod" or "torch".
    """

    name: str
    rank: int
    size: int
    local_rank: int

    @abstractmethod
    def all_reduce(self, tensor: torch.Tensor) -> None:
        """Replace `tensor` (any shape, float32, float64 or int64, contiguous) by its sum over all ranks, in place."""

    def start_all_reduce(self, tensor: torch.Tensor) -> Callable[[], None]:
        """Begin `all_reduce`; return what waits for it. Ranks begin several of them in the same order.

        On a GPU it begins when the work that is there already is done, and the wait is one of the current stream.
        """
        self.all_reduce(tensor)
        return lambda: None

    def broadcast(self, tensor: torch.Tensor, root: int = 0) -> None:
        """Replace `tensor` (of any dtype and layout, of one shape on all ranks) by that of rank `root`, in place."""
        from sparkdl.comm.wire import broadcast

        if self.size > 1:
            broadcast(tensor, self, root)

    @abstractmethod
    def broadcast_bytes(self, data: torch.Tensor, root: int = 0) -> None:
        """Replace `data`, (bytes,) uint8 and contiguous, of one length on all ranks, by that of rank `root`."""

    @abstractmethod
    def barrier(self) -> None:
        """Wait until every rank is here."""

    @abstractmethod
    def close(self) -> None:
        """Leave the group in order. Not collective; safe to call twice."""

    def abort(self) -> None:
        """Leave the group at once so that the others fail soon instead of waiting. Not collective."""
        self.close()

    def subgroup(self, ranks: Sequence[int]) -> Backend:
        """Return these ranks as a group of their own, for them alone to use; all ranks call it.

        It has the collectives of this backend, counts roots as this backend does, and ends with it.
        """
        raise NotImplementedError(f"{self.name} has no groups of some ranks")

    def gradient_sync(
        self, parameters: Sequence[torch.nn.Parameter], extra: int, *, one_pass: bool = False
    ) -> GradientSync:
        """Return the strategy that sums gradients over the ranks: one flat buffer.

        Parameters
        ----------
        parameters : sequence of Parameter
        extra : int
            Numbers that go along.
        one_pass : bool
            Whether a step has one backward pass, in which ranks do not meet: gradients of large networks on GPUs are
            summed while it still runs.
        """
        from sparkdl.comm.buckets import bucket_bytes
        from sparkdl.comm.flat import FlatSync

        return FlatSync(self, parameters, extra, bucket_bytes(parameters) if one_pass else 0)

    def synchronize_batch_norm(self, module: torch.nn.Module) -> torch.nn.Module:
        """Return the module with batch norm layers that take their statistics over all ranks. Not collective.

        From then on every rank runs every forward pass, also on a batch of no rows.
        """
        from sparkdl.comm.batchnorm import convert

        return module if self.size == 1 else convert(module, self)

    def average_statistics(self, module: torch.nn.Module, rows: float) -> None:
        """Average the running statistics of batch norm over all ranks, by the rows that each has seen."""
        from sparkdl.comm.batchnorm import average_statistics

        if self.size > 1:
            average_statistics(module, self, rows)


class GradientSync(ABC):
    """Sums gradients, and a few numbers beside them, over all ranks by one all-reduce a step.

    The gradients of the parameters are views of its buffer from the first `zero` on.

    Attributes
    ----------
    norm : float
        Euclidean norm of all summed gradients together, as `sum` has found it; not finite if one of them is not.
    missed : float
        Of how many parameters ranks have said in `sum` that their backward pass has not reached them.
    """

    norm: float = 0.0
    missed: float = 0.0

    @abstractmethod
    def zero(self) -> None:
        """Set all gradients to zero, also those of parameters that the next backward pass will not touch."""

    @abstractmethod
    def sum(self, extra: Sequence[float | torch.Tensor]) -> list[float]:
        """Sum all gradients in place, and `extra` (its length is fixed at construction); return the sums of `extra`.

        Collective. A rank that had no rows takes part with zeros. The result is the same, bit for bit, on all ranks.
        A parameter that no rank's backward pass has reached has no gradient (None) afterwards, until the next `zero`.
        """

    @abstractmethod
    def sum_on_device(self, extra: Sequence[float | torch.Tensor]) -> torch.Tensor:
        """Do what `sum` does without waiting for the device.

        Returns
        -------
        Tensor
            (extra + 2,) float64, on the device: the sums of `extra`, the norm, and of how many parameters ranks have
            said that their backward pass has not reached them. Of several ranks these keep a gradient of zeros.
        """

    @abstractmethod
    def scale(self, factor: float | torch.Tensor) -> None:
        """Multiply all gradients by a number that is the same on all ranks. Not collective."""

    @abstractmethod
    def reached(self) -> list[bool]:
        """Return of each parameter whether the backward pass before the last `sum` has reached it. Not collective."""

    @abstractmethod
    def mark_reached(self, reached: Sequence[bool]) -> None:
        """Say which parameters a backward pass has reached that nobody could watch. Not collective."""
