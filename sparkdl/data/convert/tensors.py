"""Arrow arrays to torch tensors and back, without a copy where the types allow. No Spark."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from sparkdl.data.convert import arrow
from sparkdl.errors import DataError
from sparkdl.schema import Field

DOUBLE = "double"
NESTED = "array"


def scaled(pixels: torch.Tensor, order: torch.memory_format = torch.preserve_format) -> torch.Tensor:
    """Return images, (n, 3, H, W) uint8 on any device, in [0, 1]: float32, in their order in memory or in that one."""
    return pixels.to(torch.float32, memory_format=order).div_(255)


def null_rows(columns: Sequence[pa.Array]) -> npt.NDArray[np.bool_] | None:
    """Return which rows have a null in any of the arrays, inside lists too, (n,) bool; None if there are none."""
    found: npt.NDArray[np.bool_] | None = None
    for column in columns:
        mask = arrow.null_rows(column)
        if mask is not None:
            found = mask if found is None else found | mask
    return found


def from_tensor(tensor: torch.Tensor, kind: str | None = None) -> pa.Array:
    """Return a network's output as an Arrow array.

    Parameters
    ----------
    tensor : Tensor
        (n,), (n, 1), (n, k) or more dimensions, on any device.
    kind : str, optional
        "double": float64, one number for each row. "array": lists of float32, nested for more dimensions. By default
        (n,) and (n, 1) are "double", everything else "array".

    Raises
    ------
    DataError
        "double" for rows that have more than one number.
    """
    tensor = tensor.detach().cpu()
    rows = tensor.shape[0]
    single = tensor.dim() == 1 or (tensor.dim() == 2 and tensor.shape[1] == 1)
    if kind == DOUBLE or (kind is None and single):
        if tensor.numel() != rows:
            raise DataError(f"an output of shape {tuple(tensor.shape)} is not one number for each row")
        return arrow.from_numpy(tensor.reshape(rows).to(torch.float64).numpy())
    if tensor.dim() == 1:
        tensor = tensor.reshape(rows, 1)
    numbers = arrow.from_numpy(tensor.to(torch.float32).contiguous().reshape(-1).numpy())
    return arrow.in_lists(numbers, tensor.shape)


def one_shape(array: pa.Array, field: Field) -> tuple[int, ...]:
    """Return the one shape of all rows; DataError if there are several, or another than the field's."""
    if len(array) == 0:
        return tuple(max(0, dimension) for dimension in field.shape)
    shapes = arrow.row_shapes(array, len(field.shape))
    wanted = np.where(np.array(field.shape) < 0, shapes[0], field.shape)
    wrong = (shapes != wanted).any(axis=1) | (shapes < 0).any(axis=1)
    if wrong.any():
        seen = sorted({tuple(shape) for shape in shapes[wrong].tolist()})
        shown = ", ".join("x".join("?" if d < 0 else str(d) for d in shape) for shape in seen[:5])
        raise DataError(
            f"column {field.columns[0]!r} has {int(wrong.sum())} of {len(array)} rows of length {shown}, "
            f"{'x'.join(map(str, wanted.tolist()))} is needed: bring all rows to one length"
        )
    return tuple(int(dimension) for dimension in wanted)


def dense(array: pa.Array, dtype: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Return rows without nulls, all of one shape, as (n, *shape); without a copy where the type allows."""
    leaf = arrow.counted(arrow.leaf(array))
    if len(leaf) == 0:
        return torch.empty((len(array), *shape), dtype=getattr(torch, dtype))
    if leaf.type == pa.from_numpy_dtype(dtype):
        return torch.utils.dlpack.from_dlpack(leaf).reshape(len(array), *shape)
    return torch.from_numpy(arrow.dense(array, dtype, shape))
