"""What is saved of a network: JSON, tensors and, for classes that others may not have, a pickle nobody has to trust."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from sparkdl.errors import NetworkError
from sparkdl.network.allowed import instance_refusal, may_be_called, network_class
from sparkdl.network.budget import Budget, BudgetError
from sparkdl.network.check import is_lazy, materialised
from sparkdl.network.registry import find
from sparkdl.network.resolve import CLASS, NAME, STRUCTURE, Network, Reference, named_network
from sparkdl.network.seeding import seeded
from sparkdl.network.skeleton import UNNAMED, dump_skeleton, load_skeleton
from sparkdl.network.structure import classes_in, describe_structure, rebuild_structure
from sparkdl.network.tensors import assign, named_tensors, saved_form, signature
from sparkdl.network.values import UndescribableError, decode, encode
from sparkdl.schema import DataSchema

PICKLE = "pickle"
"""Kind of a network that has no JSON form."""

_OURS = ("torch.", "sparkdl.")


@dataclass(frozen=True)
class Description:
    """A network ready to be saved.

    Attributes
    ----------
    json : dict
        How to make it again.
    tensors : dict of str to Tensor
        On the CPU.
    skeleton : bytes or None
        Its pickle, where a class is neither torch's nor sparkdl's.
    pickle_only : str
        Why JSON cannot describe it; empty if it can.
    """

    json: dict[str, Any]
    tensors: dict[str, torch.Tensor]
    skeleton: bytes | None
    pickle_only: str = ""


def describe(module: nn.Module, reference: Reference) -> Description:
    """Return what has to be saved of a network.

    Raises
    ------
    NetworkError
        If it can neither be described by JSON nor be pickled.
    """
    reason = ""
    if _is_call(reference) and signature(module) == reference.signature:
        body, tensors = _describe_call(module, reference), named_tensors(module)
    else:
        try:
            structure, tensors = describe_structure(module)
            body = {"kind": STRUCTURE, "structure": structure}
        except UndescribableError as error:
            reason = str(error)
            body, tensors = {"kind": PICKLE, "reason": reason}, {}
    skeleton = None
    if reason or not all(type(layer).__module__.startswith(_OURS) for layer in module.modules()):
        skeleton = _skeleton(module, tensors, required=bool(reason))
    return Description(body, {name: saved_form(t) for name, t in tensors.items()}, skeleton, reason)


def restore(
    body: Mapping[str, Any],
    tensors: Mapping[str, torch.Tensor],
    schema: DataSchema,
    skeleton: Callable[[], bytes] | None = None,
    trusted: bool = False,
) -> Network:
    """Make the network that `describe` has described.

    Parameters
    ----------
    body : mapping
        The JSON.
    tensors : mapping of str to Tensor
        Become the network's own, without a copy.
    schema : DataSchema
        Of its inputs, for lazy layers.
    skeleton : callable, optional
        Reads the pickle; only given by callers who trust it.
    trusted : bool
        Whether any class of a network that this process has may be called.

    Raises
    ------
    NetworkError
        If a class is not known here (says which import to add), a file may not name it, or the tensors do not fit.
    """
    if body.get("kind") == PICKLE:
        if skeleton is None:
            reason = body.get("reason")
            raise NetworkError(f"the network was saved as a pickle ({reason}): load it with trusted=True")
        return Network(load_skeleton(skeleton(), tensors), Reference(STRUCTURE))
    try:
        for name, called in sorted(_classes(body)):
            network_class(name, called=called and not trusted)
    except NetworkError:
        if skeleton is None:
            raise
        return Network(load_skeleton(skeleton(), tensors), Reference(STRUCTURE))
    if body.get("kind") == STRUCTURE:
        return Network(rebuild_structure(body["structure"], tensors), Reference(STRUCTURE))
    return _restore_call(body, tensors, schema, trusted)


def _is_call(reference: Reference) -> bool:
    cls = find(reference.name) if reference.kind == CLASS else None
    return reference.kind == NAME or (isinstance(cls, type) and may_be_called(cls))


def _describe_call(module: nn.Module, reference: Reference) -> dict[str, Any]:
    frozen = [name for name, parameter in module.named_parameters() if not parameter.requires_grad]
    return {
        "kind": reference.kind,
        "name": reference.name,
        "params": encode(dict(reference.params), "moduleParams"),
        "frozen": frozen,
    }


def _restore_call(
    body: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], schema: DataSchema, trusted: bool
) -> Network:
    kind, name = body.get("kind"), str(body.get("name"))
    if kind not in (NAME, CLASS):
        raise NetworkError(f"the description of the network has the unknown kind {kind!r}")
    cls = named_network(name) if kind == NAME else network_class(name, called=not trusted)
    params = decode(body["params"])
    own = {key: tensor for key, tensor in tensors.items() if not key.startswith(UNNAMED)}
    budget = Budget(own.values(), limited=not trusted)
    try:
        with seeded(0), budget:
            module: nn.Module = cls(**params)
    except Exception as error:
        raise NetworkError(
            f"{name} called with the saved moduleParams {reprlib.repr(params)} raised {type(error).__name__}: {error}"
        ) from error
    if type(module) is not cls and not trusted:
        raise NetworkError(f"{name} called with the saved moduleParams is a {type(module).__name__}")
    if is_lazy(module):
        _materialise(module, partial(cls, **params), schema, budget)
    reason = "" if trusted else instance_refusal(module)
    if reason:
        raise NetworkError(f"{name} called with the saved moduleParams is refused: {reason}")
    assign(module, own)
    frozen = set(body.get("frozen", ()))
    for parameter_name, parameter in module.named_parameters():
        parameter.requires_grad_(parameter_name not in frozen)
    return Network(module, Reference(kind, name, params, signature(module)))


def _materialise(module: nn.Module, make: Callable[[], nn.Module], schema: DataSchema, budget: Budget) -> None:
    from torch.utils.flop_counter import FlopCounterMode  # A quarter of a second, for lazy layers alone.

    # The sizes of the inputs come from a file too: a twin is sent through its first batch without memory.
    try:
        with seeded(0), budget, torch.device("meta"), FlopCounterMode(display=False) as computed:
            materialised(make(), schema, 0)
    except BudgetError:
        raise
    except Exception:
        # It computes with values. What it takes besides its layers and its inputs is not known.
        pass
    else:
        budget.check_operations(computed.get_total_flops())
    with budget:
        materialised(module, schema, 0)


def _classes(body: Mapping[str, Any]) -> set[tuple[str, bool]]:
    named = {(str(body["name"]), True)} if body.get("kind") == CLASS else set()
    return named | classes_in(dict(body))


def _skeleton(module: nn.Module, tensors: dict[str, torch.Tensor], required: bool) -> bytes | None:
    extra = dict(tensors)
    try:
        data = dump_skeleton(module, extra)
    except NetworkError:
        if required:
            raise
        return None
    tensors.update(extra)
    return data
