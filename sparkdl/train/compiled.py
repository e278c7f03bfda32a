"""The network through torch.compile, for the batches that are worth it."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sparkdl.comm.batchnorm import RankBatchNorm
from sparkdl.errors import SettingError

_REMEMBERED = 8
"""Shapes of the last batches, of which one that comes again is the usual one."""
_MOST_SHOWN = 400
"""Characters of what torch says; it may list all of its options."""
_NO_COMPILER = ("c++ compiler", "c compiler", "triton")


class Compiled:
    """A network whose training steps go through torch.compile, which makes code for batches of one shape.

    The first shape to come a second time is the usual one. Batches of other shapes (the last one of an epoch) go
    through the network itself, since each would be compiled anew, and so does validation. Weights and names stay the
    network's.

    Parameters
    ----------
    module : nn.Module
    setting : True or mapping
        Arguments of torch.compile.

    Raises
    ------
    SettingError
        torch.compile does not take them.
    """

    def __init__(self, module: nn.Module, setting: bool | Mapping[str, Any]) -> None:
        self._module = module
        self._setting = setting
        self._recent: deque[Any] = deque(maxlen=_REMEMBERED)
        self._usual: Any = None
        self._works = False
        try:
            # Code for one shape is faster than code for many, and no other one is asked for.
            arguments = {"dynamic": False, **(setting if isinstance(setting, Mapping) else {})}
            for layer in module.modules():
                if isinstance(layer, RankBatchNorm | nn.SyncBatchNorm):
                    # Ranks meet in it: it must run, never be traced.
                    layer.forward = torch.compiler.disable(layer.forward)  # type: ignore[method-assign]
            self._compiled: Any = torch.compile(getattr(module, "_orig_mod", module), **arguments)
        except (RuntimeError, TypeError, ValueError) as error:
            raise self._refusal(error) from error

    def __call__(self, *inputs: Tensor) -> Any:
        """Return what the network returns."""
        if not self._module.training or not self._is_usual(inputs):
            return self._module(*inputs)
        if self._works:
            return self._compiled(*inputs)
        try:
            result = self._compiled(*inputs)
        except RuntimeError as error:
            # The network itself has taken such a batch before.
            if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                raise
            raise self._refusal(error) from error
        self._works = True
        return result

    def _is_usual(self, inputs: tuple[Tensor, ...]) -> bool:
        kind = [(tensor.shape, tensor.dtype) for tensor in inputs]
        if self._usual is None and all(tensor.numel() for tensor in inputs):
            if kind in self._recent:
                self._usual = kind
            self._recent.append(kind)
        return bool(kind == self._usual)

    def _refusal(self, error: Exception) -> SettingError:
        # The first line names the part of torch that failed, the second one why.
        said = " ".join(str(error).strip().splitlines()[:2]).rstrip(".")
        if len(said) > _MOST_SHOWN:
            said = f"{said[:_MOST_SHOWN]} ..."
        lacks = any(word in said.lower() for word in _NO_COMPILER)
        remedy = "install g++ (and triton for GPUs) where ranks run" if lacks else "give other arguments"
        return SettingError(
            f"invalid compile={self._setting!r}: torch.compile on host {socket.gethostname()} says: {said}; "
            f"{remedy}, or set compile to False"
        )
