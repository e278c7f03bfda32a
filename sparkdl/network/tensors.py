"""The tensors of a network by name: parameters, all buffers (persistent or not) and plain attributes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import nn

from sparkdl.errors import NetworkError


def named_tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return each tensor of a network once, under the first of its names, in the order of the layers."""
    found: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for path, layer in module.named_modules():
        spaces = (layer._parameters, layer._buffers, layer.__dict__)
        for attribute, value in (item for space in spaces for item in space.items()):
            if isinstance(value, torch.Tensor) and id(value) not in seen:
                seen.add(id(value))
                found[f"{path}.{attribute}" if path else attribute] = value
    return found


def signature(module: nn.Module) -> str:
    """Return a hash of the names, shapes and dtypes of all tensors, not of what they hold."""
    lines = [f"{name} {tuple(t.shape)} {t.dtype}" for name, t in named_tensors(module).items()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def saved_form(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor as it goes to a file: on the CPU, without its graph, and without the rest of its storage."""
    plain = tensor.detach().cpu().resolve_conj().resolve_neg()
    if isinstance(plain, nn.Parameter):
        plain = plain.data
    if plain.layout == torch.strided and not plain.is_quantized:
        whole = plain.untyped_storage().nbytes() == plain.numel() * plain.element_size()
        plain = plain if whole and plain.is_contiguous() else plain.contiguous().clone()
    return plain


def assign(module: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Give the tensors of a network the values of saved ones, without a copy; ties between layers stay.

    Raises
    ------
    NetworkError
        If names, shapes or dtypes are not the same.
    """
    own = named_tensors(module)
    kind = type(module).__name__
    different = sorted(own.keys() ^ tensors.keys())
    if different:
        where = "only in the file" if different[0] in tensors else "not in the file"
        raise NetworkError(
            f"the tensor {different[0]!r} of {kind} is {where}: the class has changed since it was saved"
        )
    for name, tensor in own.items():
        saved = tensors[name]
        if saved.shape != tensor.shape or saved.dtype != tensor.dtype:
            raise NetworkError(
                f"the tensor {name!r} of {kind} is {tuple(tensor.shape)} {tensor.dtype}, "
                f"in the file {tuple(saved.shape)} {saved.dtype}: the class has changed since it was saved"
            )
        tensor.data = saved
