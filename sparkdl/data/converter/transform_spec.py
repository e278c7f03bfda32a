"""What a user does to a batch before it reaches the loop: a function of tensors, or Petastorm's TransformSpec."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sparkdl.errors import DataError, SettingError

if TYPE_CHECKING:
    import pandas as pd

Transform = Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]


def transform_of(spec: object) -> Transform | None:
    """Return what `spec` does to a batch.

    Parameters
    ----------
    spec : None, callable or petastorm.transform.TransformSpec
        A callable takes {column: tensor} and returns such a dict. A TransformSpec is taken as `make_batch_reader` takes
        it: its `func` gets a pandas DataFrame (arrays as one numpy array for each row) and returns one; `edit_fields`
        says dtype and shape of what it changes or adds, `removed_fields` or `selected_fields` what stays.

    Raises
    ------
    SettingError
        Something else.
    """
    if spec is None:
        return None
    # By its attributes, so that Petastorm is imported by those only who use it.
    if hasattr(spec, "edit_fields") and hasattr(spec, "removed_fields"):
        return _Spec(spec)
    if callable(spec):
        return _Function(spec)
    raise SettingError(
        f"transform_spec={spec!r} is neither a function of {{column: tensor}} nor a petastorm.transform.TransformSpec"
    )


class _Function:
    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        result = self._function(batch)
        if not isinstance(result, Mapping):
            raise DataError(f"transform_spec returned {type(result).__name__}, a dict of column and tensor is needed")
        return {str(name): torch.as_tensor(value) for name, value in result.items()}


class _Spec:
    def __init__(self, spec: Any) -> None:
        self._function: Callable[[pd.DataFrame], pd.DataFrame] | None = spec.func
        self._edited: dict[str, tuple[Any, tuple[int, ...]]] = {
            name: (dtype, tuple(shape)) for name, dtype, shape, *_ in spec.edit_fields
        }
        self._removed = set(spec.removed_fields)
        self._selected: Sequence[str] | None = spec.selected_fields

    def __call__(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        frame = _to_pandas(batch)
        result = frame if self._function is None else self._function(frame)
        names = [name for name in [*batch, *(n for n in self._edited if n not in batch)] if name not in self._removed]
        if self._selected is not None:
            names = [name for name in self._selected if name in names]
        missing = [name for name in names if name not in result.columns]
        if missing:
            there = ", ".join(repr(str(name)) for name in result.columns)
            raise DataError(
                f"transform_spec's function returned no column {missing[0]!r} (it has {there}): "
                "return it, or name it in removed_fields"
            )
        return {name: self._tensor(name, result[name], batch) for name in names}

    def _tensor(self, name: str, values: pd.Series, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        if name in self._edited:
            dtype, shape = np.dtype(self._edited[name][0]), self._edited[name][1]
        else:
            tensor = batch[name]
            dtype, shape = tensor.numpy().dtype, tuple(tensor.shape[1:])
        # torch's loaders have no boolean columns in Petastorm either.
        dtype = np.dtype(np.uint8) if dtype == np.bool_ else dtype
        try:
            if len(values) == 0:
                array = np.empty((0, *shape), dtype=dtype)
            elif shape:
                array = np.stack([np.asarray(value, dtype=dtype).reshape(shape) for value in values])
            else:
                array = values.to_numpy(dtype=dtype)
            return torch.from_numpy(np.ascontiguousarray(array))
        except (TypeError, ValueError) as error:
            raise DataError(
                f"transform_spec's column {name!r} does not hold {dtype.name} of shape {shape} in every row ({error}): "
                "say in edit_fields what the function returns"
            ) from error


def _to_pandas(batch: Mapping[str, torch.Tensor]) -> pd.DataFrame:
    import pandas as pd

    columns = {}
    for name, tensor in batch.items():
        values = tensor.numpy()
        columns[name] = values if values.ndim == 1 else pd.Series(list(values), dtype=object)
    return pd.DataFrame(columns)
