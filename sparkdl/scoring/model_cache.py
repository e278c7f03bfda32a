"""Networks that this Python worker has loaded, one of each; kept across batches, tasks and queries.

It has to be an importable module: the globals of a function that Spark ships are new in every task.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from torch import nn

from sparkdl.comm.wire import size_of
from sparkdl.network.tensors import named_tensors

LIMIT = 8
"""Networks kept, the last used ones; CrossValidator scores many and returns to none."""

LIMIT_BYTES = 4 << 30
"""Bytes of their tensors, on all devices; the last used network is kept whatever its size."""

_LOADED: OrderedDict[tuple[str, str], tuple[nn.Module, int]] = OrderedDict()
_LOCK = threading.Lock()


def loaded(name: str, device: str, load: Callable[[], nn.Module]) -> nn.Module:
    """Return the network of that name on that device, loaded at its first use.

    Parameters
    ----------
    name : str
        Holds the hash of its content.
    device : str
    load : callable
        Called at most once while the network is kept.
    """
    key = (name, device)
    with _LOCK:
        if key not in _LOADED:
            module = load()
            _LOADED[key] = module, sum(size_of(tensor) for tensor in named_tensors(module).values())
            while len(_LOADED) > 1 and (len(_LOADED) > LIMIT or _bytes() > LIMIT_BYTES):
                _LOADED.popitem(last=False)
        _LOADED.move_to_end(key)
        return _LOADED[key][0]


def _bytes() -> int:
    return sum(size for _, size in _LOADED.values())
