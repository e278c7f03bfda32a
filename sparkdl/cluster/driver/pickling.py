"""The driver's side of a Job: arguments by cloudpickle, versions, paths."""

from __future__ import annotations

import inspect
import io
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sparkdl.cluster.task.bootstrap import version_of
from sparkdl.comm.registry import BACKENDS
from sparkdl.comm.torch_pickle import TorchPickler, dumps
from sparkdl.errors import SettingError

_PACKAGES = ("sparkdl", "torch", "pyarrow", "cloudpickle", *(n for spec in BACKENDS.values() for n in spec.packages))
_DEPTH = 4


def pickle_arguments(kwargs: Mapping[str, Any]) -> bytes:
    """Return the arguments as bytes; what belongs to a script or a notebook goes by value.

    Raises
    ------
    SettingError
        If one cannot be pickled; it names the innermost value that is to blame, and where it is.
    """
    try:
        blob = dumps(dict(kwargs))
    except Exception as error:
        raise SettingError(
            f"{_blamed('', dict(kwargs), error)}. Create it inside the function that runs there, or send what it is "
            "made from"
        ) from error
    return blob


def check_sendable(values: Mapping[str, Any]) -> None:
    """Refuse what could not be sent to the ranks, without a copy of its tensors and arrays.

    Parameters
    ----------
    values : mapping of str to object
        What will be sent, by how the user calls it.

    Raises
    ------
    SettingError
        Names the innermost value that is to blame, and where it is.
    """
    for name, value in values.items():
        try:
            _try_pickle(value)
        except Exception as error:
            raise SettingError(
                f"{_blamed(name, value, error)}. Make it on the ranks, when it is first needed, or leave it out by "
                "__getstate__"
            ) from error


class _Sketch(TorchPickler):
    """Pickles all but the tensors and what arrays hold: those can be sent, and may be large."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), 5, lambda buffer: False)
        self._torch = sys.modules.get("torch")

    def persistent_id(self, obj: Any) -> Any:
        return "tensor" if self._torch is not None and isinstance(obj, self._torch.Tensor) else None


def _try_pickle(value: Any) -> None:
    _Sketch().dump(value)


def _blamed(location: str, value: Any, error: Exception) -> str:
    location, value, reason = _culprit(location, value, error)
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    return f"{location or 'an argument'} ({kind}) cannot be sent to the ranks: {reason}"


def _culprit(location: str, value: Any, error: Exception) -> tuple[str, Any, str]:
    seen: set[int] = set()
    for _ in range(_DEPTH):
        seen.add(id(value))
        for name, part in _parts(location, value):
            if id(part) in seen:
                continue
            try:
                _try_pickle(part)
            except Exception as inner:
                location, value, error = name, part, inner
                break
        else:
            break
    return location, value, f"{type(error).__name__}: {error}"


def _parts(location: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a value is made of, with a name for each part that a user recognises."""
    if type(value).__module__.startswith("pyspark."):
        # A session or a DataFrame lives on the driver only; what it consists of explains nothing.
        return
    if hasattr(value, "named_modules"):
        yield from _parts_of_network(location, value)
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield (f"{location}[{key!r}]" if location else f"argument {str(key)!r}"), part
    elif isinstance(value, list | tuple | set | frozenset):
        for index, part in enumerate(value):
            yield f"{location}[{index}]", part
    elif inspect.isfunction(value):
        used = inspect.getclosurevars(value)
        for name, part in {**used.globals, **used.nonlocals}.items():
            yield f"the name {name!r} that {value.__qualname__} uses", part
    elif hasattr(value, "__dict__") and not inspect.ismodule(value) and not inspect.isclass(value):
        for name, part in vars(value).items():
            yield f"attribute {name!r} of {location or type(value).__qualname__}", part


def _parts_of_network(location: str, network: Any) -> Iterator[tuple[str, Any]]:
    """Yield what the layers hold besides tensors and layers: which layer it is says more than how layers are kept."""
    for path, layer in network.named_modules():
        where = ".".join(filter(None, (location or type(network).__qualname__, path)))
        for name, part in vars(layer).items():
            if name not in ("_parameters", "_buffers", "_modules"):
                yield f"attribute {name!r} of {where}", part


def driver_versions() -> dict[str, str]:
    """Return the versions that the executors have to match, without importing the packages."""
    found = {name: version_of(name) for name in _PACKAGES}
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    return {"python": python, **{name: version for name, version in found.items() if version is not None}}


def driver_path(path: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return the folders of the driver's sys.path that are the user's, not the Python environment's."""
    entries = [os.path.abspath(entry) for entry in (sys.path if path is None else path)]
    roots = {os.path.abspath(root) + os.sep for root in (sys.prefix, sys.base_prefix, sys.exec_prefix)}
    return tuple(entry for entry in entries if not any((entry + os.sep).startswith(root) for root in roots))
