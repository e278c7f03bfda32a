"""What a file may name: which classes are made from it, which of them are called, and which attributes it may set.

A file that nobody trusts chooses among the classes of this process, and gives them values. So a class whose attributes
are a program (torch.fx, torch.export, torch.jit, ...) must not be made, a class that nobody has vouched for must not be
called, and no value may stand where the class has a method, a property or a hook.
"""

from __future__ import annotations

import sys
from functools import cached_property, lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from sparkdl.errors import NetworkError
from sparkdl.network.registry import find, is_found, name_of, registered, remedy

_TORCH = frozenset({"torch", "torchgen", "functorch", "triton"})
"""Packages of torch. Of their classes only those of `_REVIEWED` modules are made."""

_REVIEWED = (
    "torch.nn.modules.",
    "torch.nn.utils.parametrize.",
    "torch.nn.utils.parametrizations.",
    "torch.optim.",
    "torch.nn.parallel.data_parallel",
)
"""Modules whose classes hold numbers, tensors and functions of `values.FUNCTIONS`, and no program."""

_VOUCHED = ("sparkdl.", "torchmetrics.classification.", "torchmetrics.regression.")
"""Modules besides torch's whose classes a file may call: they read no files and take no code."""

_OF_LAYERS = (nn.TransformerEncoder, nn.TransformerDecoder)

_STATE = frozenset({"training", "_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"})
_FLAGS = frozenset({"_is_full_backward_hook"})
HOOKS = frozenset(nn.Module().__dict__) - _STATE - _FLAGS
"""Attributes that every ``nn.Module`` has and that hold functions."""

_ABSENT = object()


def network_class(name: str, *, called: bool = False) -> type[nn.Module]:
    """Return the network class of a name that comes from a file.

    Parameters
    ----------
    name : str
        ``module:qualified.name``.
    called : bool
        Whether its constructor is to be called with values of the file.

    Raises
    ------
    NetworkError
        If this process does not know it, or a file may not name it.
    """
    found = find(name)
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise NetworkError(f"the network class {name} is not known here: {remedy(name)}")
    reason = refusal(found, called=called)
    if reason:
        raise NetworkError(f"the network class {name} is refused: {reason}")
    return found


def refusal(cls: type, *, called: bool = False) -> str:
    """Return why a file may not name a class, or "" where it may.

    Parameters
    ----------
    cls : type
        A network, an optimizer, a schedule or a callback.
    called : bool
        Whether it is called with values of the file; otherwise it is made without its constructor.
    """
    for base in cls.__mro__:
        if _package(base) in _TORCH and not is_reviewed(base):
            which = "it" if base is cls else f"its base {name_of(base)}"
            return f"{which} is none of torch's layers, and may hold a program"
    if called and cls in _OF_LAYERS:
        return "it copies a layer, which no call in a file can give, any number of times"
    if called and issubclass(cls, nn.ParameterDict):
        return "it sets an attribute of any name that it is called with"
    if not called or is_reviewed(cls) or cls.__module__.startswith(_VOUCHED) or registered(name_of(cls)) is cls:
        return ""
    if not _is_installed(cls.__module__):
        return ""
    return "a file may not call classes of an installed package: call sparkdl.register on it, or load with trusted=True"


def value_refusal(cls: type) -> str:
    """Return why a file may not name the class of a value (a dataclass, an Enum), or "" where it may.

    It is not called, but what it defines may be: when it is compared, shown or deleted.
    """
    for base in cls.__mro__:
        if _package(base) in _TORCH and not is_reviewed(base):
            return f"{name_of(base)} is none of torch's layers, and may hold a program"
    if is_reviewed(cls) or registered(name_of(cls)) is cls:
        return ""
    if not _is_installed(cls.__module__) and not _is_pythons(cls.__module__):
        return ""
    return "a file may not name values of an installed package: call sparkdl.register on it, or load with trusted=True"


def may_be_called(cls: type) -> bool:
    """Tell whether a file may name a class as what makes its network; else it is saved layer by layer."""
    return is_found(cls) and not refusal(cls, called=True)


def is_reviewed(cls: type) -> bool:
    """Whether a class is one of torch's own that hold no program."""
    return f"{cls.__module__}.".startswith(_REVIEWED) and is_found(cls)


def attribute_refusal(cls: type, name: Any) -> str:
    """Return why a file may not set an attribute of an instance of a class, or "" where it may."""
    if not isinstance(name, str) or not name:
        return f"{name!r} is no name of an attribute"
    if name.startswith("__") and name.endswith("__"):
        return f"{name} is one of Python's own names"
    if issubclass(cls, nn.Module):
        if name in HOOKS or name in vars(nn.Module):
            return f"{name} belongs to nn.Module"
        if name in _STATE or name in _FLAGS:
            return ""
    for base in cls.__mro__:
        defined = vars(base).get(name, _ABSENT)
        # What an instance may have in place of its class's value is data, and never what is called or computed.
        if defined is not _ABSENT and (callable(defined) or hasattr(type(defined), "__get__")):
            return f"{name} is defined by the class {base.__qualname__}"
    return ""


def instance_refusal(module: nn.Module) -> str:
    """Return why a network that a call of a file has made may not be used, or "" where it may; lazy layers have sizes.

    The layers of torch set no attributes by the names in their arguments, as far as is known; what they have set is
    looked at all the same. What the user's own classes do is their matter.
    """
    if not is_reviewed(type(module)):
        return ""
    fresh = vars(nn.Module())
    for layer in module.modules():
        for name, value in vars(layer).items():
            if name in HOOKS and value and value != fresh[name]:
                return f"{name} holds something"
            reason = "" if name in fresh else attribute_refusal(type(layer), name)
            if reason:
                return reason
    return ""


def is_cached(cls: type, name: str) -> bool:
    """Whether an attribute is the value of a `cached_property`, which is computed again and not saved."""
    return isinstance(next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None), cached_property)


def _package(cls: type) -> str:
    return cls.__module__.partition(".")[0]


def _is_pythons(module_name: str) -> bool:
    return module_name.partition(".")[0] in {*sys.stdlib_module_names, "sparkdl"} - {"__main__"}


def _is_installed(module_name: str) -> bool:
    """Whether a module lies where packages are installed; the user's own modules lie elsewhere or in no file."""
    package = sys.modules.get(module_name.partition(".")[0])
    # Not getattr: it would ask the package's own __getattr__.
    known = vars(package) if isinstance(package, ModuleType) else {}
    places = [*(known.get("__path__") or ()), known.get("__file__")]
    return any(_holds_packages(str(Path(index).parent)) for index in places if index)


@lru_cache(maxsize=256)
def _holds_packages(folder: str) -> bool:
    return Path(folder).name in ("site-packages", "dist-packages") or any(Path(folder).glob("*.dist-info"))
