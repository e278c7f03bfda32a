"""A copy of the user's network, or the sentence for what in it cannot be copied."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from sparkdl.comm.wire import is_dense, repeats
from sparkdl.errors import NetworkError
from sparkdl.network.norms import computed_weights


def copied(module: nn.Module) -> nn.Module:
    """Return a deep copy, with weights and modes; each of its tensors has numbers of its own.

    Raises
    ------
    NetworkError
        Names the attribute that has no copy, and what to do.
    """
    _check_tensors(module)
    try:
        return copy.deepcopy(module, _copied_before(module))
    except Exception as error:
        name = type(module).__name__
        for index, value in _attributes(module):
            try:
                copy.deepcopy(value)
            except Exception as inner:
                raise NetworkError(
                    f"the network {name} cannot be copied, because its attribute {index} is {_described(value)} "
                    f"({type(inner).__name__}: {_first_line(inner)}): {_remedy(value)}"
                ) from error
        raise NetworkError(
            f"the network {name} cannot be copied ({type(error).__name__}: {_first_line(error)}), and every rank needs "
            "a copy: let copy.deepcopy work on it"
        ) from error


def apart(module: nn.Module) -> nn.Module:
    """Return a network whose tensors have numbers of their own, ready to be trained: itself, or else a copy."""
    _check_tensors(module)
    return copied(module) if _copied_before(module) else module


def _check_tensors(module: nn.Module) -> None:
    """Refuse tensors that cannot be sent, saved and trained like others."""
    held = [(name, parameter) for name, parameter in module.named_parameters() if not nn.parameter.is_lazy(parameter)]
    for name, tensor in (*held, *module.named_buffers()):
        if nn.parameter.is_lazy(tensor):
            continue
        if tensor.is_nested or tensor.is_mkldnn or (isinstance(tensor, nn.Parameter) and not is_dense(tensor)):
            what = "nested" if tensor.is_nested else str(tensor.layout).removeprefix("torch.")
            what = "quantized" if tensor.is_quantized else what
            kind = "parameter" if isinstance(tensor, nn.Parameter) else "buffer"
            remedy = "make it a buffer" if kind == "parameter" and what.startswith("sparse") else "make it dense"
            raise NetworkError(
                f"the {kind} {name!r} of {type(module).__name__} is {what}, which ranks cannot train and a saved "
                f"network cannot hold: {remedy}"
            )


def _copied_before(module: nn.Module) -> dict[int, Any]:
    """Return copies, as the memo of a deep copy, of tensors that torch does not copy, or not as dense ones."""
    memo: dict[int, Any] = {id(weight): weight.detach().clone() for weight in computed_weights(module)}
    tensors = (value for _, value in _attributes(module) if isinstance(value, torch.Tensor))
    for tensor in tensors:
        if id(tensor) in memo or nn.parameter.is_lazy(tensor) or not tensor.is_leaf:
            continue
        compressed = tensor.layout not in (torch.strided, torch.sparse_coo)
        if compressed or (is_dense(tensor) and (tensor.is_conj() or tensor.is_neg() or repeats(tensor))):
            plain = tensor.detach().resolve_conj().resolve_neg()
            plain = plain.clone() if compressed else plain.clone(memory_format=torch.contiguous_format)
            is_parameter = isinstance(tensor, nn.Parameter)
            memo[id(tensor)] = nn.Parameter(plain, tensor.requires_grad) if is_parameter else plain
    return memo


def _attributes(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """What the layers hold besides other layers, with the name by which a user reaches it."""
    for path, layer in module.named_modules():
        own = {**layer._parameters, **layer._buffers}
        own |= {
            name: value for name, value in vars(layer).items() if name not in ("_parameters", "_buffers", "_modules")
        }
        for name, value in own.items():
            yield repr(f"{path}.{name}" if path else name), value


def _described(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return "a tensor that was computed from others"
    kind = type(value)
    return f"a {kind.__qualname__}" if kind.__module__ == "builtins" else f"a {kind.__module__}.{kind.__qualname__}"


def _remedy(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return "compute it in forward, or keep it as a parameter, or a buffer after detach()"
    return "make it in forward when it is first needed, or leave it out of copies by __getstate__"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0]
