"""Arrow arrays to torch tensors and back, without a copy where the types allow. No Spark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from sparkdl.data.convert import arrow, images, vectors
from sparkdl.errors import DataError
from sparkdl.schema import IMAGE, MASK, STACKED, Field

DOUBLE = "double"
NESTED = "array"


def to_tensor(columns: Sequence[pa.Array], field: Field) -> torch.Tensor:
    """Return the rows of a field as a tensor.

    Parameters
    ----------
    columns : sequence of pyarrow.Array
        One array of n rows without nulls; or, for a stacked field, one for each of its columns. May be slices.
    field : Field
        Dimensions of its shape that are -1 are taken from the rows.

    Returns
    -------
    Tensor
        (n, *shape), of the field's dtype; images float32 in [0, 1]; sparse (COO) where the field says so. It shares
        memory with Arrow where it can: do not write to it.

    Raises
    ------
    DataError
        Rows of different shapes, or of another shape than the field's; bytes that are no image.
    """
    if field.kind == IMAGE:
        return _images(columns[0], field)
    if field.kind == STACKED and len(columns) > 1:
        values = np.empty((len(columns[0]), len(columns)), dtype=field.dtype)
        for place, column in enumerate(columns):
            values[:, place] = arrow.dense(column, field.dtype, ())
        return torch.from_numpy(values)
    array = columns[0]
    if field.kind == MASK:
        return _mask(array, field)
    if vectors.is_vector(array.type):
        return _vectors(array, field)
    dims = arrow.depth(array.type)
    if dims == 0:
        return _dense(array, field, (1,))
    if dims != len(field.shape):
        raise DataError(f"field {field.name!r} is nested {dims} deep, the network was made for {len(field.shape)}")
    dense = _dense(array, field, _shape(array, field))
    return dense.to_sparse() if field.sparse else dense


def from_packed(values: npt.NDArray[Any], field: Field) -> torch.Tensor:
    """Return the rows of a field as a tensor, from what packed rows hold of it, (n, *stored_shape).

    The tensor is that of `to_tensor`, but for images, which stay uint8. It shares memory with `values` where it can.
    """
    if field.entries is not None:
        return _of_entries(vectors.unpacked(values), field.shape[0], field.sparse)
    tensor = torch.from_numpy(values)
    if field.kind == MASK:
        return tensor.to(torch.bool)
    return tensor.to_sparse() if field.sparse else tensor


def split_packed(values: npt.NDArray[Any], field: Field, sizes: Sequence[int]) -> Sequence[torch.Tensor]:
    """Return the rows of a field as one tensor of each size, from what packed rows hold of them all."""
    if field.sparse:
        # Sparse tensors cannot be cut.
        return [from_packed(part, field) for part in np.split(values, np.cumsum(sizes)[:-1])]
    tensor = from_packed(values, field)
    return (tensor,) if len(sizes) == 1 else tensor.split(list(sizes))


def scaled(pixels: torch.Tensor) -> torch.Tensor:
    """Return images, (n, 3, H, W) uint8 on any device, in [0, 1]: float32, contiguous."""
    return pixels.to(torch.float32, memory_format=torch.contiguous_format).div_(255)


def as_numbers(array: pa.Array) -> pa.Array:
    """Return dates as days, timestamps as whole seconds, since 1970; other arrays as they are."""
    return arrow.counted(array)


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
        return pa.array(tensor.reshape(rows).to(torch.float64).numpy())
    if tensor.dim() == 1:
        tensor = tensor.reshape(rows, 1)
    array = pa.array(tensor.to(torch.float32).contiguous().reshape(-1).numpy())
    for dim in range(tensor.dim() - 1, 0, -1):
        width = tensor.shape[dim]
        count = int(np.prod(tensor.shape[:dim]))
        offsets = np.arange(count + 1, dtype=np.int32) * np.int32(width)
        array = pa.ListArray.from_arrays(pa.array(offsets), array)
    return array


def _shape(array: pa.Array, field: Field) -> tuple[int, ...]:
    """The one shape of all rows."""
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


def _mask(own: pa.Array, field: Field) -> torch.Tensor:
    """From the number of elements that are not padding."""
    lengths = torch.from_numpy(arrow.dense(own, "int64", ()).copy())
    return torch.arange(field.shape[0]) < lengths[:, None]


def _vectors(array: pa.StructArray, field: Field) -> torch.Tensor:
    sizes = vectors.sizes(array)
    size = field.shape[0] if field.known else int(sizes[0]) if len(sizes) else 0
    wrong = sizes != size
    if wrong.any():
        raise DataError(
            f"column {field.columns[0]!r} has {int(wrong.sum())} of {len(array)} vectors of the size "
            f"{int(sizes[wrong][0])}, {size} is needed: bring all rows to one length"
        )
    return _of_entries(vectors.entries_of(array), size, field.sparse)


def _of_entries(entries: vectors.Entries, size: int, as_sparse: bool) -> torch.Tensor:
    if as_sparse:
        places = torch.from_numpy(np.stack([entries.rows, entries.places]))
        # Rows and places ascend, and none comes twice: so much Spark's vectors promise.
        return torch.sparse_coo_tensor(
            places, torch.from_numpy(entries.values), (entries.vectors, size), is_coalesced=True, check_invariants=False
        )
    dense = np.zeros((entries.vectors, size), dtype=np.float32)
    dense[entries.rows, entries.places] = entries.values
    return torch.from_numpy(dense)


def _images(array: pa.Array, field: Field) -> torch.Tensor:
    decoded = images.decode_all(array)
    broken = sum(image is None for image in decoded)
    if broken:
        raise DataError(
            f"column {field.columns[0]!r} has {broken} of {len(decoded)} rows that are no JPEG, PNG or Spark image"
        )
    if not decoded:
        return torch.empty((0, *(max(0, dimension) for dimension in field.shape)))
    stacked = images.stack([image for image in decoded if image is not None], field.columns[0])
    if field.known and stacked.shape[1:] != field.shape:
        raise DataError(
            f"column {field.columns[0]!r} has images of {stacked.shape[2]}x{stacked.shape[3]} (height x width), "
            f"{field.shape[1]}x{field.shape[2]} is needed: resize them"
        )
    return scaled(torch.from_numpy(stacked))


def _dense(array: pa.Array, field: Field, shape: tuple[int, ...]) -> torch.Tensor:
    leaf = arrow.leaf(array)
    if len(leaf) == 0:
        return torch.empty((len(array), *shape), dtype=getattr(torch, field.dtype))
    if leaf.type == pa.from_numpy_dtype(field.dtype):
        return torch.utils.dlpack.from_dlpack(leaf).reshape(len(array), *shape)
    return torch.from_numpy(arrow.dense(array, field.dtype, shape))
