"""Networks that this Python worker has loaded, one of each; kept across batches, tasks and queries.

It has to be an importable module: the globals of a function that Spark ships are new in every task.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from torch import nn

LIMIT = 8
"""Networks kept, the last used ones; CrossValidator scores many and returns to none."""

_LOADED: OrderedDict[tuple[str, str], nn.Module] = OrderedDict()
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
            _LOADED[key] = load()
            while len(_LOADED) > LIMIT:
                _LOADED.popitem(last=False)
        _LOADED.move_to_end(key)
        return _LOADED[key]
