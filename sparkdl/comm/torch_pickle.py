"""Pickles of what torch itself pickles only by ``torch.save``, or not at all; torch is not imported for it."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from typing import Any

import cloudpickle

_PARAMETRIZE = "torch.nn.utils.parametrize"


class TorchPickler(cloudpickle.Pickler):  # type: ignore[misc]
    """cloudpickle's, which also takes tensors of every dtype and parametrized layers; any pickle reads the result."""

    def reducer_override(self, obj: Any) -> Any:
        torch = sys.modules.get("torch")
        if torch is not None:
            if type(obj) is torch.UntypedStorage:
                # That of float8 and of other younger dtypes; torch pickles the storages of the older ones.
                numbers = torch.empty(0, dtype=torch.uint8).set_(obj.cpu())
                return torch.Tensor._typed_storage, (numbers,)
            if is_parametrized(obj):
                return _bare, (type(obj).__bases__[0],), dict(vars(obj)), None, None, _fill
        return super().reducer_override(obj)


def dumps(value: Any) -> bytes:
    """Return the pickle of a value."""
    buffer = io.BytesIO()
    TorchPickler(buffer).dump(value)
    return buffer.getvalue()


def is_parametrized(layer: Any) -> bool:
    """Tell whether a layer has a class that ``torch.nn.utils.parametrize`` has made for it alone."""
    kind = type(layer)
    return kind.__module__ == _PARAMETRIZE and kind.__name__ == f"Parametrized{kind.__bases__[0].__name__}"


def parametrize(layer: Any, names: Iterable[str]) -> None:
    """Give a layer that holds parametrizations of these names the class that computes them."""
    from torch.nn.utils import parametrize as torchs

    torchs._inject_new_class(layer)
    for name in names:
        torchs._inject_property(layer, name)


def _bare(cls: type) -> Any:
    return object.__new__(cls)


def _fill(layer: Any, state: dict[str, Any]) -> None:
    layer.__dict__.update(state)
    parametrize(layer, layer._modules["parametrizations"]._modules)
