"""One forward pass on the driver, so that a network that does not fit the data is a sentence and not a dead job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from sparkdl.blame import in_a_line, is_misfit, place_of
from sparkdl.data.types import type_of
from sparkdl.errors import NetworkError, did_you_mean, subject
from sparkdl.network.copies import copied
from sparkdl.network.seeding import seeded
from sparkdl.schema import DataSchema, Field

_VIEWS = frozenset(
    ("view", "unsafeview", "reshapealias", "squeeze", "unsqueeze", "select", "slice", "alias", "clone", "tocopy")
)
"""Functions of autograd that change no number of which there is one for each row."""


class Outputs(tuple[Any, ...]):
    """One entry for each output of a network, in its order.

    Attributes
    ----------
    names : tuple of str
        Where the network returns a dict: its keys.
    """

    names: tuple[str, ...] = ()


def check(module: nn.Module, schema: DataSchema, rows: int = 2) -> tuple[tuple[int, ...], ...]:
    """Send rows of zeros through a copy of the network and return the shapes of its outputs.

    Parameters
    ----------
    module : nn.Module
        Left as it is: weights, statistics of batch norm and mode; so are the random states.
    schema : DataSchema
        With every input's shape known.
    rows : int
        Rows of the batch.

    Returns
    -------
    tuple of tuple of int
        For each output its shape of one row, without the batch dimension: () for a (rows,) tensor. They are `Outputs`.

    Raises
    ------
    NetworkError
        If the network does not take these inputs, or its outputs are no tensors with one entry for each row.
    """
    twin = copied(module).cpu()
    with _explained(module, schema):
        outputs = _forward(twin, schema, rows, learns=True)
    _check_learns(twin, schema, rows, outputs)
    shapes = Outputs(_row_shape(module, output, rows, i) for i, output in enumerate(outputs))
    shapes.names = getattr(outputs, "names", ())
    return shapes


def final_functions(module: nn.Module, schema: DataSchema) -> tuple[str, ...]:
    """Return for each output of a network that `check` has passed the function that made its numbers, as autograd says.

    Returns
    -------
    tuple of str
        "sigmoid", "softmax", ... whether by a layer or by a call, and whatever views stand behind it; "" where no
        gradient comes back through it.
    """
    twin = copied(module).cpu()
    with _explained(module, schema):
        return tuple(map(_function_of, _forward(twin, schema, 2, learns=True)))


def layer_shapes(module: nn.Module, schema: DataSchema, names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return the shape of one row of the output of inner layers, by the names of ``named_modules()``.

    Raises
    ------
    NetworkError
        If there is no layer of that name, it takes no part in the forward pass or does not return one tensor.
    """
    twin = copied(module).cpu()
    layers = dict(twin.named_modules())
    missing = [name for name in names if name not in layers or not name]
    if missing:
        known = [name for name in layers if name]
        hint = did_you_mean(missing[0], known, "")
        raise NetworkError(
            f"outputLayers names {missing[0]!r}, the layers of this network are: {', '.join(known)}"
            f"{hint and f'; {hint}'}"
        )
    rows = 2
    with _explained(module, schema), captured(twin, names) as caught:
        _forward(twin, schema, rows)
    silent = [name for name in names if name not in caught]
    if silent:
        raise NetworkError(
            f"outputLayers names {silent[0]!r}, which is not called in a forward pass or returns no tensor"
        )
    return {name: _row_shape(layers[name], caught[name], rows, 0) for name in names}


@contextmanager
def captured(module: nn.Module, names: Sequence[str]) -> Iterator[dict[str, torch.Tensor]]:
    """Catch the outputs of inner layers inside the block; those of a later forward pass replace earlier ones.

    They are copies: what follows a layer may change its output in place, as ``nn.ReLU(inplace=True)`` does. One thread
    at a time may do this with a module, and the others must not use it meanwhile.
    """
    caught: dict[str, torch.Tensor] = {}
    layers = dict(module.named_modules())

    def catcher(name: str) -> Any:
        def hook(layer: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor):
                caught[name] = output.detach().clone()

        return hook

    handles = [layers[name].register_forward_hook(catcher(name)) for name in names]
    try:
        yield caught
    finally:
        for handle in handles:
            handle.remove()


def outputs_of(result: Any) -> tuple[torch.Tensor, ...]:
    """Return what a network returned as a tuple of tensors: one tensor, a sequence or a mapping of tensors.

    Raises
    ------
    NetworkError
        If it is anything else.
    """
    values = tuple(result.values()) if isinstance(result, Mapping) else result
    values = (values,) if isinstance(values, torch.Tensor) else values
    if not isinstance(values, (tuple, list)) or not values or not all(isinstance(v, torch.Tensor) for v in values):
        raise NetworkError(
            f"the network returns {type(result).__name__}, not a tensor or a tuple, list or dict of tensors: "
            "return tensors with one entry for each row"
        )
    found = Outputs(values)
    if isinstance(result, Mapping):
        found.names = tuple(map(str, result))
    return found


def materialised(module: nn.Module, schema: DataSchema, seed: int) -> None:
    """Give lazy layers (``nn.LazyLinear``) their sizes by one forward pass; nothing happens where there are none."""
    if is_lazy(module):
        with _explained(module, schema), seeded(seed):
            _forward(module, schema, 2)


def is_lazy(module: nn.Module) -> bool:
    """Tell whether a network has layers that take their sizes from the first batch."""
    return any(nn.parameter.is_lazy(tensor) for tensor in (*module.parameters(), *module.buffers()))


def zeros(field: Field, rows: int) -> torch.Tensor:
    """Return a batch of zeros as the network would get it; 0 is an index that every embedding has. Masks are true."""
    if not field.known:
        raise NetworkError(f"the shape of input {field.name!r} is not known yet: {field.shape}")
    batch = torch.full((rows, *field.shape), type_of(field).neutral, dtype=getattr(torch, field.dtype))
    return batch.to_sparse() if field.sparse else batch


def describe_inputs(schema: DataSchema) -> str:
    """Return "features (rows, 4) float32, image (rows, 3, 8, 8) float32"."""
    return ", ".join(f"{f.name} ({', '.join(['rows', *map(str, f.shape)])}) {f.dtype}" for f in schema.inputs)


def _function_of(output: torch.Tensor) -> str:
    node = output.grad_fn
    while node is not None and _named(node) in _VIEWS:
        node = node.next_functions[0][0]
    return "" if node is None else _named(node)


def _named(node: Any) -> str:
    """Of "SigmoidBackward0" "sigmoid"."""
    return str(node.name()).partition("Backward")[0].lower()


def _check_learns(twin: nn.Module, schema: DataSchema, rows: int, outputs: Sequence[torch.Tensor]) -> None:
    """Refuse outputs through which no gradient comes back."""
    for index, output in enumerate(outputs):
        if not output.is_floating_point():
            kind = str(output.dtype).removeprefix("torch.")
            raise NetworkError(
                f"output {index} of {type(twin).__name__} is {kind}, which no loss can learn from: return float32 "
                "numbers, those before argmax, round or a comparison"
            )
    trained = any(parameter.requires_grad for parameter in twin.parameters())
    if not trained or any(output.requires_grad for output in outputs):
        return
    try:
        # It may be that only its evaluation spares the gradient.
        outputs = _forward(twin, schema, rows, learns=True, training=True)
    except Exception:
        # Rows of zeros need not be what it can learn from; the ranks will tell.
        return
    if not any(output.requires_grad for output in outputs):
        raise NetworkError(
            f"the output of {type(twin).__name__} does not depend on its weights by torch: compute it without detach, "
            "no_grad, item or numpy"
        )


def _forward(
    module: nn.Module, schema: DataSchema, rows: int, *, learns: bool = False, training: bool = False
) -> tuple[torch.Tensor, ...]:
    modes = {layer: layer.training for layer in module.modules()}
    module.train(training)
    try:
        with torch.set_grad_enabled(learns), seeded(0):
            return outputs_of(module(*(zeros(field, rows) for field in schema.inputs)))
    finally:
        for layer, training in modes.items():
            layer.training = training


@contextmanager
def _explained(module: nn.Module, schema: DataSchema) -> Iterator[None]:
    try:
        yield
    except NetworkError:
        raise
    except Exception as error:
        name, said, place = type(module).__name__, in_a_line(error), place_of(error)
        if is_misfit(error):
            raise NetworkError(
                f"the network {name} does not take its input {describe_inputs(schema)}: {said}; "
                f"{_remedy(module, schema, error)}"
            ) from error
        raise NetworkError(
            f"the network {name} raised {said}{place and f' ({place})'}, when it was tried on the driver with rows of "
            f"zeros as {describe_inputs(schema)}"
        ) from error


def _remedy(module: nn.Module, schema: DataSchema, error: Exception) -> str:
    whole = [field for field in schema.inputs if field.dtype == "int64"]
    if whole and _takes(module, DataSchema(tuple(replace(f, dtype="float32") for f in schema.inputs))):
        columns = subject([name for field in whole for name in field.columns]).replace("one of the", "the")
        return f"cast {columns} to double, or begin forward with x.float()"
    kinds = {parameter.dtype for parameter in module.parameters() if parameter.is_floating_point()}
    if len(kinds) == 1 and torch.float32 not in kinds:
        kind = str(kinds.pop()).removeprefix("torch.")
        return f"its weights are {kind}: give module.float(), and the Param precision for what ranks compute in"
    if isinstance(error, TypeError) and any(len(field.columns) > 1 for field in schema.inputs):
        return (
            "featuresCols stacks its columns into one input: name them in inputCols, one for each argument of forward"
        )
    return "change the network, moduleParams or the columns"


def _takes(module: nn.Module, schema: DataSchema) -> bool:
    try:
        _forward(copied(module).cpu(), schema, 2)
    except Exception:
        return False
    return True


def _row_shape(module: nn.Module, output: torch.Tensor, rows: int, index: int) -> tuple[int, ...]:
    if output.ndim == 0 or output.shape[0] != rows:
        raise NetworkError(
            f"output {index} of {type(module).__name__} has shape {tuple(output.shape)} for {rows} rows: "
            "the first dimension must be the rows"
        )
    return tuple(output.shape[1:])
