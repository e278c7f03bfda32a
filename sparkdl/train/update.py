"""What an optimizer does with the summed gradients of a step: scale them, clip them, step, or skip the step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from sparkdl.comm.backend import GradientSync
from sparkdl.train.config import TrainConfig
from sparkdl.train.optim import step_function
from sparkdl.train.precision import Precision


class Update:
    """The optimizer with its schedule; all ranks do the same, by the same sums.

    Parameters
    ----------
    optimizer : Optimizer
    schedule : object or None
        With step(). It moves with every step, skipped or not, and so ends with the training.
    config : TrainConfig
    sync : GradientSync
        Has summed the gradients: of weight x loss x the scale of the precision over the planned rows.
    precision : Precision

    Attributes
    ----------
    lr : float
        Learning rate of the last step.
    taken : int
        Steps, skipped ones too.
    """

    def __init__(
        self, optimizer: Optimizer, schedule: Any, config: TrainConfig, sync: GradientSync, precision: Precision
    ) -> None:
        self._optimizer = optimizer
        self._step_optimizer = step_function(optimizer)
        self._schedule = schedule
        self._clip = config.gradient_clip_norm
        self._sync = sync
        self._precision = precision
        self.lr = config.learning_rate
        self.taken = 0

    def apply(self, weight: float, planned_rows: int) -> None:
        """Step by gradients of finite norm, if rows of some weight have made them.

        Parameters
        ----------
        weight : float
            Of all rows of the step together.
        planned_rows : int
            By which the gradients were divided.
        """
        if weight > 0:
            factor = planned_rows / weight / self._precision.scale
            if self._clip is not None:
                factor *= min(1.0, self._clip / (self._sync.norm * factor + 1e-6))
            if factor != 1.0:
                self._sync.scale(factor)
            self._step_optimizer()
        self._advance()

    def apply_on_device(self, sums: Tensor, planned_rows: int) -> None:
        """Do the same by sums that the host does not know: the device skips what is not finite or has no weight.

        Parameters
        ----------
        sums : Tensor
            As `GradientSync.sum_on_device` returns them, the weight first.
        planned_rows : int
        """
        weight, norm = sums[0], sums[-2]
        factor = planned_rows / weight / self._precision.scale
        if self._clip is not None:
            factor = factor * (self._clip / (norm * factor + 1e-6)).clamp(max=1.0)
        self._sync.scale(factor)
        useless = ~torch.isfinite(sums.sum()) | (weight <= 0)
        # As torch.amp.GradScaler tells it to optimizers that can skip a step by themselves.
        self._optimizer.found_inf = useless.to(torch.float32)  # type: ignore[attr-defined]
        try:
            self._step_optimizer()
        finally:
            del self._optimizer.found_inf  # type: ignore[attr-defined]
        self._advance()

    @property
    def scheduled(self) -> bool:
        """Whether the learning rate follows a schedule, which depends on the number of steps of all epochs."""
        return self._schedule is not None

    def state_dict(self) -> dict[str, Any]:
        """Return the state of optimizer, schedule and precision: that of all ranks alike."""
        return {
            "optimizer": self._optimizer.state_dict(),
            "schedule": None if self._schedule is None else self._schedule.state_dict(),
            "precision": self._precision.state_dict(),
            "lr": self.lr,
            "taken": self.taken,
        }

    def load_state_dict(self, saved: Mapping[str, Any], *, same_plan: bool) -> None:
        """Go on from what `state_dict` has returned; with other epochs than then the schedule is the new one's.

        Parameters
        ----------
        saved : mapping
        same_plan : bool
            Whether the training has as many steps as it had then.
        """
        fresh = [{name: value for name, value in g.items() if name != "params"} for g in self._optimizer.param_groups]
        self._optimizer.load_state_dict(dict(saved["optimizer"]))
        for parameter, state in self._optimizer.state.items():
            for name, value in state.items():
                if (
                    isinstance(value, Tensor)
                    and value.shape == parameter.shape
                    and value.stride() != parameter.stride()
                ):
                    # In the order of dimensions that the parameter has in memory, as the optimizer had made it.
                    state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        self._precision.load_state_dict(saved["precision"])
        self.lr, self.taken = saved["lr"], saved["taken"]
        if self._schedule is None:
            return
        if same_plan:
            self._schedule.load_state_dict(saved["schedule"])
            return
        for group, values in zip(self._optimizer.param_groups, fresh, strict=True):
            group.update(values)
        # By this a schedule knows that the optimizer has stepped before it.
        self._optimizer._opt_called = True  # type: ignore[attr-defined]
        for _ in range(self.taken):
            self._schedule.step()

    def _advance(self) -> None:
        self.lr = float(self._optimizer.param_groups[0]["lr"])
        self.taken += 1
        if self._schedule is not None:
            # By this a schedule knows that the optimizer has stepped before it.
            self._optimizer._opt_called = True  # type: ignore[attr-defined]
            self._schedule.step()


def reads_late(device: torch.device, optimizer: Optimizer) -> bool:
    """Return whether the sums of a step may be read when the next one is underway.

    Only where the device works by itself, and where the optimizer can leave a step out that cannot be applied.
    """
    skips = getattr(optimizer, "_step_supports_amp_scaling", False)
    return device.type == "cuda" and skips and all(group.get("fused") for group in optimizer.param_groups)
