"""Images as arrays: JPEG or PNG bytes and Spark's image struct to (3, H, W) uint8, RGB.

Pillow says what an image is. Ordinary JPEGs are decoded by simplejpeg where it is installed, in a quarter of the time
and to the same pixels: both have libjpeg-turbo inside. EXIF rotation is ignored, as Spark's own image source does;
alpha is dropped; 16 bits are cut to their upper 8, and numbers from 0 to 1 become 0 to 255. What 8 bits cannot hold is
refused: whole numbers of 32 bits, signed ones, and fractions of another range.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sparkdl.errors import DataError

Image = npt.NDArray[np.uint8]

# OpenCV's type codes in Spark's image struct: 8-bit unsigned, with 1, 3 or 4 channels, the colours as BGR(A).
_CHANNELS = {0: 1, 16: 3, 24: 4}
_JPEG_START = b"\xff\xd8\xff"

_INKS = ("CMYK", "YCCK")
_MOST_PIXELS = 178_956_970
"""Of larger images Pillow says that they are made to fill memory."""

_DEEP_MODES = ("F", "I", "I;16", "I;16B", "I;16L", "I;16N")
# In these formats such an image holds 16 bits without a sign, or what Pillow brings to them; of TIFF "I" is any other.
_OF_16_BITS = {"PNG": _DEEP_MODES, "PPM": _DEEP_MODES, "JPEG2000": _DEEP_MODES, "TIFF": _DEEP_MODES[2:]}
_BITS, _PHOTOMETRIC = 258, 262
"""TIFF's tags: bits of a number, and whether 0 is white (0) or black."""


class UnfaithfulImage(DataError):
    """An image that does not fit into 8 bits; `of_column` puts the column's name before what it says."""


@contextmanager
def of_column(name: str) -> Iterator[None]:
    """Name the column in what is said of its images."""
    try:
        yield
    except UnfaithfulImage as error:
        raise DataError(f"column {name!r} {error}") from error.__cause__


def decode(value: bytes | memoryview | Mapping[str, Any]) -> Image | None:
    """Return one image, (3, H, W) uint8 RGB; None if the bytes are no image.

    Parameters
    ----------
    value : bytes, memoryview or mapping
        JPEG or PNG bytes, or Spark's image struct (height, width, nChannels, mode, data).

    Raises
    ------
    UnfaithfulImage
        If 8 bits cannot hold it.
    """
    pixels = _pixels(value)
    if pixels is None:
        return None
    opencv = _module("cv2")
    if opencv is None or not pixels.flags.c_contiguous:
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))
    image = np.empty((3, *pixels.shape[:2]), np.uint8)
    opencv.split(pixels, [image[0], image[1], image[2]])
    return image


def decode_rows(column: pa.Array, outs: Sequence[Image]) -> list[tuple[int, ...] | None]:
    """Put each image of a binary or image struct column into its array of `outs`, (H, W, 3) uint8, if it has that size.

    Returns
    -------
    list of (int, int) or None
        Height and width of each image, whether it went in or not; None for null rows and what is no image.
    """
    shapes: list[tuple[int, ...] | None] = []
    for value, out in zip(_values(column), outs, strict=True):
        try:
            # Nothing else is done for an image: what waits here for its turn waits thousands of times a second.
            size = _jpeg_size(value)
            if size == out.shape[:2]:
                _decode_jpeg(value, out)
            shapes.append(size)
        # It is no JPEG (a struct, a null), or an odd one.
        except (TypeError, ValueError):
            shapes.append(_decode_slowly(value, out))
    return shapes


def decode_all(array: pa.Array) -> list[Image | None]:
    """Return the images of a binary or image struct column; None for null rows and for what is no image."""
    return [None if value is None else decode(value) for value in _values(array)]


def stack(images: Sequence[Image], name: str) -> Image:
    """Return images of one size as (n, 3, H, W); DataError names the sizes if they differ."""
    sizes = sorted({image.shape[1:] for image in images})
    if len(sizes) > 1:
        shown = ", ".join(f"{height}x{width}" for height, width in sizes[:4])
        raise DataError(f"column {name!r} has images of {len(sizes)} sizes (height x width {shown}): bring them to one")
    return np.stack(images)


def _pixels(value: bytes | memoryview | Mapping[str, Any]) -> Image | None:
    """The image as (H, W, 3), maybe not contiguous."""
    if isinstance(value, Mapping):
        return _from_struct(value)
    pixels = _by_simplejpeg(value) if value[:3] == _JPEG_START else None
    return _by_pillow(value) if pixels is None else pixels


def _decode_slowly(value: bytes | memoryview | Mapping[str, Any] | None, out: Image) -> tuple[int, ...] | None:
    pixels = None if value is None else _pixels(value)
    if pixels is None:
        return None
    if pixels.shape == out.shape:
        out[...] = pixels
    return pixels.shape[:2]


def _values(column: pa.Array) -> list[Any]:
    if column.null_count or not pa.types.is_binary(column.type):
        listed: list[Any] = column.to_pylist()
        return listed
    # In a fifth of the time.
    _, offsets, data = column.buffers()
    if data is None:
        return [b""] * len(column)
    ends = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1].tolist()
    view = memoryview(data).cast("B")
    return [view[start:end] for start, end in pairwise(ends)]


@cache
def _module(name: str) -> Any:
    """A module, None where it is not installed."""
    try:
        return importlib.import_module(name)
    # Not installed, or built for libraries that this host does not have.
    except ImportError:
        return None


def _jpeg_size(value: bytes | memoryview) -> tuple[int, int]:
    """Height and width of a JPEG that simplejpeg decodes; ValueError for what is Pillow's to decode or to refuse."""
    simplejpeg = _module("simplejpeg")
    if simplejpeg is None:
        raise ValueError("simplejpeg is not installed")
    height, width, colours, _ = simplejpeg.decode_jpeg_header(value)
    # Inks become colours in another way by Pillow.
    if colours in _INKS or height * width > _MOST_PIXELS:
        raise ValueError("too large, or in inks")
    return height, width


def _decode_jpeg(value: bytes | memoryview, out: Image | None = None) -> Image:
    pixels: Image = _module("simplejpeg").decode_jpeg(value, buffer=out)
    return pixels


def _by_simplejpeg(value: bytes | memoryview) -> Image | None:
    try:
        _jpeg_size(value)
        return _decode_jpeg(value)
    except ValueError:
        return None


def _by_pillow(value: bytes | memoryview) -> Image | None:
    try:
        from PIL import Image
    except ImportError as error:
        raise DataError("image columns need Pillow on every host: pip install pillow") from error
    try:
        with Image.open(io.BytesIO(value)) as image:
            if image.mode in _DEEP_MODES:
                return _in_colour(_in_8_bits(image))
            return np.asarray(image.convert("RGB"))
    except UnfaithfulImage:
        raise
    # Pillow raises whatever the broken bytes make its parsers trip over: SyntaxError, struct.error, ValueError, ...
    except Exception:
        return None


def _in_8_bits(image: Any) -> Image:
    """One of Pillow's images with more than 8 bits for each pixel."""
    numbers, tags = np.asarray(image), getattr(image, "tag_v2", {})
    if image.mode == "F":
        if not ((numbers >= 0) & (numbers <= 1)).all():
            raise _refusal(image, f"fractions from {numbers.min():g} to {numbers.max():g}, not from 0 to 1")
        gray = np.rint(numbers * 255).astype(np.uint8)
    elif image.mode in _OF_16_BITS.get(image.format, ()):
        (bits, *_) = tags.get(_BITS, (16,))
        gray = np.clip(numbers.astype(np.int64) >> (bits - 8), 0, 255).astype(np.uint8)
    else:
        raise _refusal(image, "whole numbers of 32 bits, or with a sign")
    upright: Image = 255 - gray if tags.get(_PHOTOMETRIC) == 0 else gray
    return upright


def _refusal(image: Any, holds: str) -> UnfaithfulImage:
    return UnfaithfulImage(
        f"has a {image.format} image of {holds}, which 8 bits for each colour cannot hold: scale it to 8 bits, or give "
        "arrays of numbers"
    )


def _from_struct(value: Mapping[str, Any]) -> Image | None:
    channels = _CHANNELS.get(value["mode"])
    height, width, data = value["height"], value["width"], value["data"]
    if channels is None or not data or height <= 0 or width <= 0 or len(data) != height * width * channels:
        return None
    pixels = np.frombuffer(data, dtype=np.uint8).reshape(height, width, channels)
    # Its colours are blue, green, red.
    return _in_colour(pixels[:, :, 0]) if channels == 1 else pixels[:, :, 2::-1]


def _in_colour(gray: Image) -> Image:
    return np.broadcast_to(gray[:, :, None], (*gray.shape, 3))
