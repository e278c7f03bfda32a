"""torch's older weight_norm and spectral_norm: a hook computes a weight from other tensors before each forward pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.utils.spectral_norm import SpectralNorm, SpectralNormLoadStateDictPreHook, SpectralNormStateDictHook
from torch.nn.utils.weight_norm import WeightNorm

from sparkdl.errors import NetworkError

HOOKS_OF_NORMS = ("_forward_pre_hooks", "_state_dict_hooks", "_load_state_dict_pre_hooks")
"""Attributes of a layer in which these norms have hooks."""

_PARTS: dict[type, tuple[str, ...]] = {WeightNorm: ("_g", "_v"), SpectralNorm: ("_orig", "_u", "_v")}
_SETTINGS = {"n_power_iterations": int, "dim": int, "eps": float}


def norms_of(layer: nn.Module) -> list[WeightNorm | SpectralNorm]:
    """Return the norms of a layer."""
    hooks: list[Any] = list(layer._forward_pre_hooks.values())
    return [hook for hook in hooks if type(hook) in _PARTS]


def computed_weights(module: nn.Module) -> Iterator[torch.Tensor]:
    """Yield the tensors that such a norm has computed, and computes again before they are used."""
    for layer in module.modules():
        for norm in norms_of(layer):
            value = vars(layer).get(norm.name)
            if isinstance(value, torch.Tensor):
                yield value


def is_hook_of_norm(hook: Any) -> bool:
    """Tell whether a hook is one that a norm has given to its layer, and gives to it again."""
    # torch wraps what is called before a state is loaded.
    inner = getattr(hook, "hook", hook)
    if type(inner) in (*_PARTS, SpectralNormStateDictHook, SpectralNormLoadStateDictPreHook):
        return True
    # By it the newer weight_norm takes the state of the older one.
    name = f"{getattr(inner, '__module__', '')}:{getattr(inner, '__qualname__', '')}"
    return name == "torch.nn.utils.parametrizations:weight_norm.<locals>._weight_norm_compat_hook"


def describe_norms(layer: nn.Module) -> list[dict[str, Any]]:
    """Return the JSON form of the older norms of a layer."""
    return [{"kind": type(norm).__name__, **vars(norm)} for norm in norms_of(layer)]


def add_norm(layer: nn.Module, described: Mapping[str, Any]) -> None:
    """Add a norm that `describe_norms` has described to a layer that holds the tensors which it computes with.

    Raises
    ------
    NetworkError
        If the description is not that of a norm, or the tensors are not there.
    """
    cls = next((cls for cls in _PARTS if cls.__name__ == described.get("kind")), None)
    name, settings = described.get("name"), {key: described[key] for key in _SETTINGS if key in described}
    known = isinstance(name, str) and all(type(value) is _SETTINGS[key] for key, value in settings.items())
    if cls is None or not known or set(described) != {"kind", "name", *settings}:
        raise NetworkError(f"the description of a norm of {type(layer).__name__} is damaged")
    held = {**layer._parameters, **layer._buffers}
    parts = [tensor for part in _PARTS[cls] if isinstance(tensor := held.get(f"{name}{part}"), torch.Tensor)]
    if len(parts) < len(_PARTS[cls]):
        raise NetworkError(f"the norm of {name!r} of {type(layer).__name__} lacks a tensor")
    norm: Any = cls(name, **settings)
    if cls is WeightNorm:
        size, weight = parts
        if torch.broadcast_shapes(size.shape, weight.shape) != weight.shape:
            raise NetworkError(f"the norm of {name!r} of {type(layer).__name__} has tensors that do not fit each other")
        with torch.no_grad():
            setattr(layer, str(name), norm.compute_weight(layer))
    else:
        # With numbers of its own: what is written to it must not change the tensor that is trained.
        setattr(layer, str(name), parts[0].detach().clone())
        layer._register_state_dict_hook(SpectralNormStateDictHook(norm))
        layer._register_load_state_dict_pre_hook(SpectralNormLoadStateDictPreHook(norm))
    layer.register_forward_pre_hook(norm)
