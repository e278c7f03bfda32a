"""Batch norm over all ranks, on CPU and GPU alike: torch's and Horovod's own versions refuse CPU tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from sparkdl.comm.backend import Backend

_DIMENSIONS: dict[type[_BatchNorm], tuple[int, ...]] = {
    nn.BatchNorm1d: (2, 3),
    nn.BatchNorm2d: (4,),
    nn.BatchNorm3d: (5,),
    nn.SyncBatchNorm: (2, 3, 4, 5),
}


class RankBatchNorm(_BatchNorm):
    """Batch norm whose training statistics are those of the rows of all ranks together.

    Takes (n, c, ...); n may be 0 on some ranks, and all ranks call it together. The statistics are combined by
    counts, means and sums of squares in float64 (Chan, Golub and LeVeque, 1979), so that N ranks compute what one does.
    """

    backend: Backend
    dimensions: tuple[int, ...]

    @classmethod
    def like(cls, layer: _BatchNorm, backend: Backend) -> RankBatchNorm:
        """Return a layer that shares the parameters and statistics of `layer`."""
        twin = cls(layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats)
        twin._parameters.update(layer._parameters)
        twin._buffers.update(layer._buffers)
        twin.training = layer.training
        twin.backend = backend
        twin.dimensions = next((d for kind, d in _DIMENSIONS.items() if isinstance(layer, kind)), (2, 3, 4, 5))
        return twin

    def _check_input_dim(self, input: torch.Tensor) -> None:
        if input.dim() not in self.dimensions:
            raise ValueError(f"batch norm expects {self.dimensions} dimensions, its input has {input.dim()}")

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if not self.training and self.running_mean is not None:
            return nn.functional.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        if not self.training:
            # Of these rows alone, one too: ranks that only measure rows do not meet.
            return torch.batch_norm(
                input, self.weight, self.bias, None, None, True, 0.0, self.eps, torch.backends.cudnn.enabled
            )
        self._check_input_dim(input)
        found: tuple[torch.Tensor, ...] = _Normalize.apply(  # type: ignore[no-untyped-call]
            input, self.weight, self.bias, self.eps, self.backend
        )
        output, mean, variance, count = found
        # Rows here are rows over all ranks: only a rank without any has to ask the device.
        if self.track_running_stats and (input.numel() or float(count)):
            self._track(mean, variance, count)
        return output

    @torch.no_grad()
    def _track(self, mean: torch.Tensor, variance: torch.Tensor, count: torch.Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        unbiased = variance * (count / (count - 1))
        for running, value in ((self.running_mean, mean), (self.running_var, unbiased)):
            if self.momentum is None:
                running.lerp_(value.to(running.dtype), (1.0 / self.num_batches_tracked.double()).to(running.dtype))
            else:
                running.lerp_(value.to(running.dtype), self.momentum)


class _Normalize(torch.autograd.Function):
    """The normalisation and its gradient; both directions take one all-reduce of two numbers for each channel."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        eps: float,
        backend: Backend,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        rest = [0, *range(2, x.dim())]
        local = x.numel() // x.shape[1]
        wide = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        sums = torch.zeros(2, x.shape[1] + 1, dtype=torch.float64, device=x.device)
        if local:
            variance, mean = torch.var_mean(wide, rest, correction=0)
            mean, variance = mean.double(), variance.double()
            sums[0, :-1], sums[1, :-1], sums[:, -1] = mean * local, (variance + mean * mean) * local, local
        backend.all_reduce(sums)
        count = sums[0, -1]
        # To read a number of the device makes the CPU wait for it, in every layer: two values here are enough to know.
        if local < 2 and float(count) == 1:
            raise ValueError(f"batch norm needs more than one value for each channel, it got {int(count)}")
        # Of no rows at all there are none.
        divisor = count.clamp(min=1)
        mean = sums[0, :-1] / divisor
        variance = (sums[1, :-1] / divisor - mean * mean).clamp_(min=0)
        shape = [1, -1] + [1] * (x.dim() - 2)
        scale = torch.rsqrt(variance + eps).to(wide.dtype).view(shape)
        normal = (wide - mean.to(wide.dtype).view(shape)) * scale
        ctx.save_for_backward(normal, scale, weight)
        ctx.backend, ctx.count, ctx.rest, ctx.dtype = backend, divisor, rest, x.dtype
        output = normal if weight is None else normal * weight.view(shape)
        if bias is not None:
            output = output + bias.view(shape)
        ctx.mark_non_differentiable(mean, variance, count)
        return output.to(x.dtype), mean, variance, count

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        normal, scale, weight = ctx.saved_tensors
        outer = gradients[0].to(normal.dtype)
        shape = scale.shape
        sum_outer, sum_product = outer.sum(ctx.rest), (outer * normal).sum(ctx.rest)
        sums = torch.stack((sum_outer, sum_product)).double()
        ctx.backend.all_reduce(sums)
        means = (sums / ctx.count).to(normal.dtype)
        inner = (outer - means[0].view(shape) - normal * means[1].view(shape)) * scale
        if weight is None:
            return inner.to(ctx.dtype), None, None, None, None
        # Parameters get this rank's share: the step sums gradients over the ranks.
        inner = inner * weight.view(shape)
        return inner.to(ctx.dtype), sum_product.to(weight.dtype), sum_outer.to(weight.dtype), None, None


def convert(module: nn.Module, backend: Backend) -> nn.Module:
    """Return the module with every batch norm layer inside replaced; parameters and statistics are shared.

    Parameters
    ----------
    module : nn.Module
        Changed in place, unless it is itself a batch norm layer.
    backend : Backend
        Whose ranks take part.
    """
    # A layer that stands in two places is one layer afterwards, too.
    twins = {layer: RankBatchNorm.like(layer, backend) for layer in module.modules() if isinstance(layer, _BatchNorm)}
    for parent in list(module.modules()):
        for name, child in parent._modules.items():
            if isinstance(child, _BatchNorm):
                parent._modules[name] = twins[child]
    return twins[module] if isinstance(module, _BatchNorm) else module


@torch.no_grad()
def average_statistics(module: nn.Module, backend: Backend, rows: float) -> None:
    """Average running means and variances over the ranks by rows; all other buffers become those of rank 0.

    Parameters
    ----------
    module : nn.Module
        The same network on every rank.
    backend : Backend
    rows : float
        Rows that this rank has seen since the last average.
    """
    statistics: list[torch.Tensor] = []
    for layer in module.modules():
        if isinstance(layer, _NormBase) and not isinstance(layer, RankBatchNorm):
            statistics += [t for t in (layer.running_mean, layer.running_var) if t is not None]
    if statistics:
        parts = [t.double().flatten() * rows for t in statistics]
        total = torch.cat([*parts, torch.tensor([float(rows)], dtype=torch.float64, device=statistics[0].device)])
        backend.all_reduce(total)
        if float(total[-1]) > 0:
            for tensor, part in zip(
                statistics, (total[:-1] / total[-1]).split([t.numel() for t in statistics]), strict=True
            ):
                tensor.copy_(part.view(tensor.shape))
    averaged = {id(t) for t in statistics}
    for buffer in module.buffers():
        if id(buffer) not in averaged:
            backend.broadcast(buffer)
