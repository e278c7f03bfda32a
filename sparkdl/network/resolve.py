"""From what the user gave as `module` to an ``nn.Module`` and the reference by which it can be saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import nn

from sparkdl.blame import in_a_line, place_of
from sparkdl.errors import NetworkError, SettingError, did_you_mean
from sparkdl.network.allowed import may_be_called
from sparkdl.network.check import materialised
from sparkdl.network.copies import apart, copied
from sparkdl.network.registry import name_of
from sparkdl.network.seeding import seeded
from sparkdl.network.tensors import signature
from sparkdl.network.values import UndescribableError, encode
from sparkdl.schema import DataSchema

if TYPE_CHECKING:
    from sparkdl.nn import SizedModule

NAME = "name"
"""A name in sparkdl.nn, called with parameters."""
CLASS = "class"
"""A class that can be found by its name, called with parameters."""
STRUCTURE = "structure"
"""Anything else: its layers are described one by one when it is saved."""


_PROGRAMS = {"ScriptModule": "a TorchScript module", "ExportedProgram": "an exported program"}
"""Classes of torch's with a network inside that nobody can copy, pickle or describe; by name: torch.export is slow."""


@dataclass(frozen=True)
class Reference:
    """How a network was made.

    Attributes
    ----------
    kind : str
        NAME, CLASS or STRUCTURE.
    name : str
        In sparkdl.nn, or ``module:qualified.name``; empty for STRUCTURE.
    params : mapping
        Keyword arguments of the call.
    signature : str
        Hash of the names, shapes and dtypes of its tensors as made; a network that was changed since is
        described by its structure.
    """

    kind: str
    name: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    signature: str = ""


@dataclass(frozen=True)
class Network:
    """A network on the CPU, and how it was made."""

    module: nn.Module
    reference: Reference


def resolve(
    module: Any, module_params: Mapping[str, Any], schema: DataSchema, outputs: int | None = None, seed: int = 42
) -> Network:
    """Make the network that the Params `module` and `moduleParams` stand for.

    Parameters
    ----------
    module : str, nn.Module, class or callable
        A name in `sparkdl.nn` (sizes come from the data where `module_params` do not give them), an instance (copied,
        with its weights), or a class or function that is called with `module_params` and nothing else.
    module_params : mapping
        Keyword arguments.
    schema : DataSchema
        Of the rows; shapes must be known for names and for lazy layers.
    outputs : int, optional
        Size of the output, for names.
    seed : int
        Same seed, same weights; the process's random states stay as they are.

    Returns
    -------
    Network
        On the CPU, lazy layers materialised.

    Raises
    ------
    SettingError
        If `module` is none of these.
    NetworkError
        If it cannot be made, or does not take the inputs of the schema.
    """
    params: dict[str, Any] = {}
    if isinstance(module, nn.Module):
        made, kind, name = make(module, module_params, seed), STRUCTURE, ""
    elif isinstance(module, str):
        made, params = _by_name(module, module_params, schema, outputs, seed)
        kind, name = NAME, module
    else:
        made, params = make(module, module_params, seed), dict(module_params)
        is_class = isinstance(module, type) and may_be_called(module)
        kind, name = (CLASS, name_of(module)) if is_class else (STRUCTURE, "")
    materialised(made, schema, seed)
    made = made.cpu()
    if kind != STRUCTURE and not _is_plain(params):
        kind, name = STRUCTURE, ""
    if kind == STRUCTURE:
        return Network(made, Reference(STRUCTURE))
    return Network(made, Reference(kind, name, params, signature(made)))


def make(module: Any, module_params: Mapping[str, Any], seed: int) -> nn.Module:
    """Return the network that an instance, a class or a function stands for; lazy layers have no sizes yet.

    Raises
    ------
    SettingError
        If `module` is none of these, or has no use for `module_params`.
    NetworkError
        If it cannot be made or copied.
    """
    _check_kind(module)
    if isinstance(module, nn.Module):
        return _copied(module, module_params)
    return _called(module, module_params, seed)


def _check_kind(module: Any) -> None:
    ours = [cls.__name__ for cls in type(module).__mro__ if cls.__module__.startswith("torch.")]
    kind = next((_PROGRAMS[name] for name in ours if name in _PROGRAMS), None)
    if kind is not None:
        raise SettingError(
            f"invalid module=<{type(module).__name__}>: {kind} cannot be sent to the ranks: give the nn.Module, or the "
            "class, that it was made from"
        )
    if isinstance(module, nn.Module) and any(tensor.is_meta for tensor in (*module.parameters(), *module.buffers())):
        raise NetworkError(
            f"the network {type(module).__name__} has tensors on the device 'meta', which have no values: give its "
            "class or a function, or call to_empty and set its weights first"
        )


def _copied(module: nn.Module, module_params: Mapping[str, Any]) -> nn.Module:
    if module_params:
        raise SettingError(
            f"moduleParams={dict(module_params)!r} has no effect on an nn.Module that exists already: "
            "give the class as module, or leave moduleParams out"
        )
    return copied(module)


def _by_name(
    name: str, module_params: Mapping[str, Any], schema: DataSchema, outputs: int | None, seed: int
) -> tuple[nn.Module, dict[str, Any]]:
    cls = named_network(name)
    unknown = [f.name for f in schema.inputs if not f.known]
    if unknown:
        raise NetworkError(f"module={name!r} takes its sizes from the data, the shape of {unknown[0]!r} is not known")
    shapes = tuple(f.shape for f in schema.inputs)
    try:
        sizes = cls.sizes(shapes, outputs, dict(module_params))
    except (TypeError, ValueError, IndexError) as error:
        if isinstance(error, NetworkError):
            raise
        raise NetworkError(f"module={name!r} does not fit inputs of the shapes {shapes}: {error}") from error
    params = {**sizes, **module_params}
    return _called(cls, params, seed, name, module_params), params


def named_network(name: str) -> type[SizedModule]:
    """Return the class that sparkdl.nn has under a name.

    Raises
    ------
    SettingError
        Names those that there are.
    """
    from sparkdl.nn import NETWORKS

    cls = NETWORKS.get(name)
    if cls is None:
        hint = did_you_mean(name, sorted(NETWORKS), f"give one of {', '.join(sorted(NETWORKS))}, or an nn.Module")
        raise SettingError(f"module={name!r} is no network of sparkdl.nn: {hint}")
    return cls


def size_arguments(name: str) -> set[str]:
    """Return those arguments of a network of sparkdl.nn that follow from its inputs where they are not given."""
    sizes = named_network(name).sizes
    small, large = sizes(((1, 4, 4),), 1, {}), sizes(((1, 8, 8),), 1, {})
    return {argument for argument, value in small.items() if value != large[argument]}


def _called(
    make: Any,
    params: Mapping[str, Any],
    seed: int,
    name: str = "",
    given: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Call a class or a function; messages show its `name` and what the user has `given`, where that is less."""
    is_other_class = isinstance(make, type) and not issubclass(make, nn.Module)
    if is_other_class or not callable(make):
        raise SettingError(
            f"module={make!r} is neither a name in sparkdl.nn nor an nn.Module, a class of them or a function"
        )
    label = repr(name) if name else getattr(make, "__qualname__", repr(make))
    shown = dict(params if given is None else given)
    try:
        with seeded(seed):
            made = make(**params)
    except NetworkError as error:
        # One of sparkdl.nn, which says itself what is wrong.
        raise NetworkError(f"module={label}, moduleParams={shown!r}: {error}") from error
    except Exception as error:
        raised, where = in_a_line(error), place_of(error)
        raise NetworkError(
            f"module={label} called with moduleParams={shown!r} raised {raised}{where and f' ({where})'}"
        ) from error
    if not isinstance(made, nn.Module):
        raise NetworkError(f"module={label} returned {type(made).__name__}: it must return an nn.Module")
    _check_kind(made)
    return apart(made)


def _is_plain(params: Mapping[str, Any]) -> bool:
    try:
        encode(dict(params), "moduleParams")
    except UndescribableError:
        return False
    return True
