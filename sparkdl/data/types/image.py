"""Images, as Spark's struct or as JPEG or PNG bytes: a row is (3, H, W), uint8 as stored, float32 as a tensor."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from sparkdl.data.convert import images
from sparkdl.data.types.column_type import ColumnType, Shaped, Values
from sparkdl.errors import DataError
from sparkdl.schema import IMAGE, IMAGE_PARTS, Field

if TYPE_CHECKING:
    import torch
    from pyspark.sql import Column
    from pyspark.sql.types import DataType

_SHAPED = Shaped("float32", (3, -1, -1))


class ImageType(ColumnType):
    """A column of images."""

    kind = IMAGE
    plural = "images"
    unequal = "images of different sizes"
    make_equal = "resize them to one size"
    fillable = False
    pixels = True
    late = True
    # Ten thousand images, one Arrow batch, would not fit into memory.
    rows_at_once = 64

    def of_spark(self, column: str, data_type: DataType) -> Shaped | None:
        from sparkdl.spark.columns import is_bytes, parts_of

        if parts_of(data_type) >= IMAGE_PARTS:
            return _SHAPED
        if not is_bytes(data_type):
            return None
        if importlib.util.find_spec("PIL") is None:
            raise DataError(
                f"column {column!r} holds images as bytes, and Pillow, which decodes them, is not installed in the "
                "driver's Python: run pip install pillow"
            )
        return _SHAPED

    def of_arrow(self, data_type: pa.DataType, dtype: str | None) -> Shaped | None:
        if pa.types.is_binary(data_type) or pa.types.is_large_binary(data_type):
            return _SHAPED
        if pa.types.is_struct(data_type) and {part.name for part in data_type} >= IMAGE_PARTS:
            return _SHAPED
        return None

    def expression(self, field: Field) -> Column:
        from sparkdl.spark.columns import column

        return column(field.columns[0])

    def first_shape(self, column: pa.Array, field: Field) -> tuple[int, ...] | None:
        with images.of_column(field.columns[0]):
            image = images.decode_all(column.slice(0, 1))[0]
        return None if image is None else image.shape

    def stored_dtype(self, field: Field) -> str:
        return "uint8"

    def decoded_shape(self, field: Field) -> tuple[int, ...]:
        # Pixel by pixel.
        colours, height, width = field.shape
        return height, width, colours

    def in_shape(self, decoded: Values, field: Field) -> Values:
        return decoded.transpose(0, 3, 1, 2)

    def tensor(self, columns: Sequence[pa.Array], field: Field) -> torch.Tensor:
        import torch

        from sparkdl.data.convert.tensors import scaled

        if field.known:
            values = self.empty(field, len(columns[0]))
            self.check_sizes(self.fill(columns[0], field, values), field)
            return scaled(torch.from_numpy(values), torch.contiguous_format)
        with images.of_column(field.columns[0]):
            decoded = images.decode_all(columns[0])
        self._check_whole(decoded, field)
        if not decoded:
            return torch.empty((0, *(max(0, dimension) for dimension in field.shape)))
        whole = [image for image in decoded if image is not None]
        return scaled(torch.from_numpy(images.stack(whole, field.columns[0])))

    def from_packed(self, values: Values, field: Field) -> torch.Tensor:
        import torch

        return torch.from_numpy(values)

    def decode(self, column: pa.Array, field: Field, out: Values | Sequence[Values]) -> None:
        """Write images into `out`, (3, H, W) uint8 for each row.

        Raises
        ------
        DataError
            Bytes that are no image, or another size than the field's.
        """
        shapes = self.fill(column, field, out)
        name, (height, width) = field.columns[0], field.shape[1:]
        broken = shapes.count(None)
        if broken:
            raise DataError(
                f"column {name!r} has {broken:,} rows that are no JPEG, PNG or Spark image: remove these rows"
            )
        other = next((shape for shape in shapes if shape != (height, width)), None)
        if other is not None:
            raise DataError(
                f"column {name!r} has images of {other[0]}x{other[1]} (height x width), "
                f"the first ones are {height}x{width}: bring them to one size"
            )

    def fill(self, column: pa.Array, field: Field, out: Values | Sequence[Values]) -> list[tuple[int, ...] | None]:
        with images.of_column(field.columns[0]):
            return images.decode_rows(column, [row.transpose(1, 2, 0) for row in out])

    def check_sizes(self, sizes: Sequence[tuple[int, ...] | None], field: Field) -> None:
        self._check_whole(sizes, field)
        height, width = field.shape[1:]
        other = next((size for size in sizes if size != (height, width)), None)
        if other is not None:
            raise DataError(
                f"column {field.columns[0]!r} has images of {other[0]}x{other[1]} (height x width), "
                f"{height}x{width} is needed: resize them"
            )

    def _check_whole(self, decoded: Sequence[object], field: Field) -> None:
        broken = sum(each is None for each in decoded)
        if broken:
            raise DataError(
                f"column {field.columns[0]!r} has {broken} of {len(decoded)} rows that are no JPEG, PNG or Spark "
                "image: remove them, or make them null and set handleInvalid"
            )
