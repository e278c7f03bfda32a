"""A trained network as a file for other programs: ONNX, TorchScript or torch's pt2, checked before it is there."""

from __future__ import annotations

import importlib.util
import inspect
import os
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from sparkdl.comm.wire import size_of
from sparkdl.data.types import type_of
from sparkdl.errors import NetworkError, PersistenceError, SettingError, invalid, one_of
from sparkdl.network.check import outputs_of
from sparkdl.network.seeding import seeded
from sparkdl.schema import DataSchema

ONNX, TORCHSCRIPT, PT2 = "onnx", "torchscript", "pt2"

ROWS = (5, 1, 8)
"""Rows of the batches on which a file is compared with the network; the first one is its example."""

_TOPS = (10_000, 1_000, 100, 30, 10, 5, 3, 2, 1)
"""Below which integers are drawn: the first of them that the network takes."""
_FILTERS = threading.Lock()
_TOLERANCE = 1e-4
_PROTOBUF_LIMIT = 1 << 30
"""Bytes of weights above which ONNX keeps them in a file of their own; a protobuf ends at 2 GiB."""

Tensors = tuple[torch.Tensor, ...]
Run = Callable[[Tensors], Tensors]


def export_network(module: nn.Module, schema: DataSchema, path: str | os.PathLike[str], form: str) -> None:
    """Write a network into a local file, and keep the file only if it computes what the network does.

    Parameters
    ----------
    module : nn.Module
        On the CPU, in evaluation mode; left as it is.
    schema : DataSchema
        Of its inputs, shapes known. The file takes (rows, *shape) tensors, any number of rows, masks as bool; for
        vectors that stay sparse it takes dense ones.
    path : str or PathLike
        Where to, on this machine; its folder is made.
    form : str
        "onnx", "torchscript" or "pt2".

    Raises
    ------
    SettingError
        For another format, and for a path on another file system.
    PersistenceError
        If something is there already, or a package is missing.
    NetworkError
        If the network cannot be exported, or the file returns something else than the network.
    """
    writers = {ONNX: _write_onnx, TORCHSCRIPT: _write_torchscript, PT2: _write_pt2}
    if form not in writers:
        raise SettingError(invalid("format", form, one_of(writers)))
    target = _target(path)
    batches = _batches(module, schema)
    names = [field.name for field in schema.inputs]
    target.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, so that the file appears there whole.
    with tempfile.TemporaryDirectory(prefix=".sparkdl-export-", dir=target.parent) as folder:
        written = Path(folder) / target.name
        with torch.no_grad(), _explained(module, form):
            sparse = tuple(field.sparse for field in schema.inputs)
            reference = _Sparse(module, sparse) if any(sparse) else module
            run = writers[form](_of_dense(module, reference, batches[0], form), batches[0], names, written)
            for batch in batches:
                _compare(outputs_of(reference(*batch)), run(batch), form)
        for part in sorted(Path(folder).iterdir(), key=lambda part: part == written):
            part.replace(target.parent / part.name)


def _target(path: str | os.PathLike[str]) -> Path:
    text = os.fspath(path).removeprefix("file://")
    if "://" in text:
        raise SettingError(f"{text} lies on another file system: export to a path on this machine, and copy the file")
    target = Path(text)
    if target.exists():
        raise PersistenceError(f"{target} exists already: remove it, or export to another path")
    return target


class _Sparse(nn.Module):
    """A network whose sparse inputs are given dense."""

    def __init__(self, network: nn.Module, sparse: tuple[bool, ...]) -> None:
        super().__init__()
        self.network = network
        self.sparse = sparse
        self.training = network.training

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.network(*(x.to_sparse() if own else x for x, own in zip(inputs, self.sparse, strict=True)))


class _Dense(nn.Module):
    """A network that is made for sparse inputs, on dense ones: a graph has no sparse products."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.training = network.training

    def forward(self, *inputs: torch.Tensor) -> Any:
        with _DenseProducts():
            return self.network(*inputs)


class _DenseProducts(TorchFunctionMode):
    _DENSE: ClassVar[dict[Any, Any]] = {torch.sparse.mm: torch.mm, torch.sparse.addmm: torch.addmm}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self._DENSE.get(func, func)(*args, **(kwargs or {}))


def _of_dense(module: nn.Module, reference: nn.Module, batch: Tensors, form: str) -> nn.Module:
    """Return what is written: the network itself, where it takes dense tensors in place of sparse ones."""
    if reference is module:
        return module
    dense = _Dense(module)
    try:
        dense(*batch)
    except Exception as error:
        if form == TORCHSCRIPT:
            return reference
        raise NetworkError(
            f"{type(module).__name__} takes sparse tensors and no dense ones, and {form} has none "
            f"({type(error).__name__}): export it as {TORCHSCRIPT!r}, or let forward take dense tensors too"
        ) from error
    return dense


def _batches(module: nn.Module, schema: DataSchema) -> list[Tensors]:
    """Return batches of random rows, with the largest integers that the network takes (an embedding has so many)."""
    tops = dict.fromkeys((field.name for field in schema.inputs), 1)

    def batch(rows: int) -> Tensors:
        return tuple(type_of(field).drawn(field, rows, tops[field.name]) for field in schema.inputs)

    for field in schema.inputs:
        if field.dtype != "int64":
            continue
        for top in _TOPS:
            tops[field.name] = top
            # All of them up to the largest, so that none is beyond what the network has.
            if top == 1 or _takes(module, schema, {**tops, field.name: -top}):
                break
    with seeded(0):
        return [batch(rows) for rows in ROWS]


def _takes(module: nn.Module, schema: DataSchema, tops: Mapping[str, int]) -> bool:
    given = [type_of(field).drawn(field, 1, tops[field.name]) for field in schema.inputs]
    given = [x.to_sparse() if field.sparse else x for x, field in zip(given, schema.inputs, strict=True)]
    try:
        with torch.no_grad():
            outputs = outputs_of(module(*given))
    except Exception:
        return False
    return all(bool(torch.isfinite(output).all()) for output in outputs)


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Ignore warnings for a moment; one thread at a time, or the last one out would leave the filter of the other."""
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _write_torchscript(module: nn.Module, example: Tensors, names: Sequence[str], path: Path) -> Run:
    # torch recommends pt2 instead; the caller has chosen.
    with _without_warnings():
        traced: Any = torch.jit.trace(module, example, check_trace=False, strict=False)
        torch.jit.save(traced, str(path))
        loaded: Any = torch.jit.load(str(path), map_location="cpu")
    return lambda batch: outputs_of(loaded(*batch))


def _write_pt2(module: nn.Module, example: Tensors, names: Sequence[str], path: Path) -> Run:
    with open(path, "wb") as file:
        torch.export.save(_program(module, example), file)
    loaded = torch.export.load(str(path)).module()
    return lambda batch: outputs_of(loaded(*batch))


def _write_onnx(module: nn.Module, example: Tensors, names: Sequence[str], path: Path) -> Run:
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise PersistenceError(f"format='onnx' needs {' and '.join(missing)}: pip install {' '.join(missing)}")
    import onnxruntime

    count = len(outputs_of(module(*example)))
    outputs = ["output"] if count == 1 else [f"output_{index}" for index in range(count)]
    weights = sum(size_of(tensor) for tensor in (*module.parameters(), *module.buffers()))
    with _without_warnings():
        torch.onnx.export(
            _program(module, example),
            (),
            str(path),
            input_names=list(names),
            output_names=outputs,
            external_data=weights > _PROTOBUF_LIMIT,
            dynamo=True,
            verbose=False,
        )
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(batch: Tensors) -> Tensors:
        given = {name: tensor.numpy() for name, tensor in zip(names, batch, strict=True)}
        # The graph has no input that no output depends on.
        known = {entry.name for entry in session.get_inputs()}
        results = session.run(outputs, {name: value for name, value in given.items() if name in known})
        return tuple(torch.from_numpy(value) for value in results)

    return run


def _program(module: nn.Module, example: Tensors) -> torch.export.ExportedProgram:
    """Return the network as a graph that takes any number of rows."""
    rows = torch.export.Dim("rows")
    # The shapes have the form of the arguments: a network that takes *inputs has them as one tuple.
    bound = inspect.signature(module.forward).bind(*example).arguments
    shapes = {
        name: tuple({0: rows} for _ in value) if isinstance(value, tuple) else {0: rows}
        for name, value in bound.items()
    }
    return torch.export.export(module, example, dynamic_shapes=shapes, strict=False)


def _compare(expected: Tensors, got: Tensors, form: str) -> None:
    if [tuple(tensor.shape) for tensor in expected] != [tuple(tensor.shape) for tensor in got]:
        shapes = " and ".join(str(tuple(tensor.shape)) for tensor in got)
        wanted = " and ".join(str(tuple(tensor.shape)) for tensor in expected)
        raise NetworkError(f"the {form} file returns {shapes} where the network returns {wanted}{_REMEDY}")
    for index, (one, other) in enumerate(zip(expected, got, strict=True)):
        one, other = one.double(), other.double()
        if not torch.allclose(one, other, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True):
            apart = float((one - other).abs().nan_to_num(float("inf")).max())
            raise NetworkError(
                f"output {index} of the {form} file is up to {apart:.3g} from the network's on {len(one)} rows{_REMEDY}"
            )


_REMEDY = (
    ": its forward pass decides by the values or the number of its rows, or draws at random in evaluation mode; "
    "make it the same computation for every batch"
)


@contextmanager
def _explained(module: nn.Module, form: str) -> Iterator[None]:
    try:
        yield
    except (NetworkError, PersistenceError):
        raise
    except Exception as error:
        lines = str(error).strip().splitlines()
        raise NetworkError(
            f"{type(module).__name__} cannot be exported as {form}: {type(error).__name__}: {lines[0] if lines else ''}"
        ) from error
