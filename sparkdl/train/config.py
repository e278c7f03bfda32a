"""The settings of a training run, and the batches it is fed with, as the loop sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch

    from sparkdl.train.callbacks import Callback

Named = str | type | Callable[..., Any]


@dataclass(frozen=True)
class TrainConfig:
    """What the loop needs to know; names and defaults are those of the estimators' Params in snake case.

    Attributes
    ----------
    task : str
        "classification" (class indices, logits), "regression" or "generic".
    label_names : tuple of str
        By which the outputs of a network that returns a dict are found.
    losses : tuple
        One for each output: a name, a torch loss class, or function(output, target).
    loss_params : tuple of mapping
        Keyword arguments for each loss.
    loss_weights : tuple of float
    metrics : tuple
        Names as in torchmetrics, or functions(output, target) -> float.
    num_classes : int
        Of a classifier, else 0.
    class_weights : tuple of float or None
        One for each class.
    optimizer, optimizer_params, learning_rate
        torch.optim's name in lower case, a class, or a function of the parameters.
    lr_schedule, lr_schedule_params
        torch.optim.lr_scheduler's class name, or function(optimizer, total_steps); None for none.
    epochs, accumulation_steps : int
    seed : int
    precision : str
        "float32", "bf16" or "fp16".
    matmul_precision : str
        Of float32 matrix products: "highest" (as torch is set), "high" or "medium".
    device : str
        "cpu" or "cuda".
    compile : bool or mapping
        Whether steps go through torch.compile, or its arguments.
    gradient_clip_norm : float or None
    sync_batch_norm : bool
    channels_last : bool
        Whether parameters and batches of four dimensions have the second one last in memory, as convolutions like it.
    callbacks : tuple of Callback
    """

    task: str = "generic"
    label_names: tuple[str, ...] = ()
    losses: tuple[Named, ...] = ("mse",)
    loss_params: tuple[Mapping[str, Any], ...] = ()
    loss_weights: tuple[float, ...] = ()
    metrics: tuple[Named, ...] = ()
    num_classes: int = 0
    class_weights: tuple[float, ...] | None = None
    optimizer: Named = "adamw"
    optimizer_params: Mapping[str, Any] = field(default_factory=dict)
    learning_rate: float = 1e-3
    lr_schedule: Named | None = None
    lr_schedule_params: Mapping[str, Any] = field(default_factory=dict)
    epochs: int = 1
    accumulation_steps: int = 1
    seed: int = 42
    precision: str = "float32"
    matmul_precision: str = "highest"
    device: str = "cpu"
    compile: bool | Mapping[str, Any] = False
    gradient_clip_norm: float | None = None
    sync_batch_norm: bool = False
    channels_last: bool = False
    callbacks: tuple[Callback, ...] = ()


class FeedBatch(Protocol):
    """The rows of one step that fall to one rank, as a `Feed` yields them.

    Attributes
    ----------
    inputs : tuple of Tensor
        One for each input of the network, (n, ...); n may be 0, and differs between ranks.
    targets : tuple of Tensor
        One for each label, (n, ...).
    weights : Tensor or None
        (n,) float32.
    planned_rows : int
        Rows of this step over all ranks.
    for_network : callable
        Makes of the inputs, wherever they are now, what the network is given.
    """

    @property
    def inputs(self) -> tuple[torch.Tensor, ...]: ...
    @property
    def targets(self) -> tuple[torch.Tensor, ...]: ...
    @property
    def weights(self) -> torch.Tensor | None: ...
    @property
    def planned_rows(self) -> int: ...
    @property
    def for_network(self) -> Callable[[tuple[torch.Tensor, ...]], tuple[torch.Tensor, ...]]: ...


class Feed(Protocol):
    """Where batches come from: the loader of one split on one rank.

    Every rank's `epoch` yields exactly `steps` batches. It raises if a row is missing or surplus.

    A batch may lie in memory that the feed fills again for later ones, pinned memory too: the loop copies it to a GPU
    without waiting, and holds its tensors until the copy is over. So a feed must not write to the memory of a batch
    while anybody holds a tensor of it, as `sparkdl.data.loading.buffer_pool` finds out by counting references. What is
    not pinned the loop pins by a copy, in its own thread, which takes the GPU's time.
    """

    @property
    def steps(self) -> int:
        """Steps of an epoch; the same on every rank."""
        ...

    @property
    def rows(self) -> int:
        """Rows of an epoch over all ranks."""
        ...

    @property
    def wait_seconds(self) -> float:
        """Seconds that the consumer has waited for batches since the epoch began."""
        ...

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[FeedBatch]:
        """Yield the batches of one epoch, from `start_step` on."""
        ...

    def close(self) -> None:
        """End threads and close files; safe to call twice."""
        ...
