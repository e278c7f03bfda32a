"""A trained network as a file for other programs: ONNX, TorchScript or torch's pt2, checked before it is there."""

from __future__ import annotations

import importlib.util
import inspect
import os
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sparkdl.comm.wire import size_of
from sparkdl.errors import NetworkError, PersistenceError, SettingError, invalid, one_of
from sparkdl.network.check import outputs_of
from sparkdl.schema import DataSchema, Field

ONNX, TORCHSCRIPT, PT2 = "onnx", "torchscript", "pt2"

ROWS = (5, 1, 8)
"""Rows of the batches on which a file is compared with the network; the first one is its example."""

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
        Of its inputs, shapes known. The file takes (rows, *shape) tensors, any number of rows.
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
    batches = [tuple(_random(field, rows) for field in schema.inputs) for rows in ROWS]
    names = [field.name for field in schema.inputs]
    target.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, so that the file appears there whole.
    with tempfile.TemporaryDirectory(prefix=".sparkdl-export-", dir=target.parent) as folder:
        written = Path(folder) / target.name
        with torch.no_grad(), _explained(module, form):
            run = writers[form](module, batches[0], names, written)
            for batch in batches:
                _compare(outputs_of(module(*batch)), run(batch), form)
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


def _random(field: Field, rows: int) -> torch.Tensor:
    shape = (rows, *field.shape)
    # Whole numbers are often indices, and 0 is the one that every table has.
    return torch.rand(shape) if field.dtype == "float32" else torch.zeros(shape, dtype=torch.int64)


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
