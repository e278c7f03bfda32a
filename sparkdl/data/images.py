"""Pictures as arrays: JPEG or PNG bytes and Spark's image struct to (3, H, W) uint8, RGB.

Pillow says what a picture is. Ordinary JPEGs are decoded by OpenCV where it is installed, in a third of the time and to
the same pixels: both have libjpeg-turbo inside. EXIF rotation is ignored, as Spark's own image source does; alpha is
dropped; 16 bits are cut to their upper 8.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sparkdl.errors import DataError

Picture = npt.NDArray[np.uint8]

# OpenCV's type codes in Spark's image struct: 8-bit unsigned, with 1, 3 or 4 channels, the colours as BGR(A).
_CHANNELS = {0: 1, 16: 3, 24: 4}
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_FRAMES = (0xC0, 0xC1, 0xC2)
"""Markers of the frames that libjpeg decodes: baseline, extended, progressive."""

_DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")


def decode(value: bytes | Mapping[str, Any]) -> Picture | None:
    """Return one picture, (3, H, W) uint8 RGB; None if the bytes are no picture.

    Parameters
    ----------
    value : bytes or mapping
        JPEG or PNG bytes, or Spark's image struct (height, width, nChannels, mode, data).
    """
    return _from_struct(value) if isinstance(value, Mapping) else _from_bytes(value)


def decode_all(array: pa.Array) -> list[Picture | None]:
    """Return the pictures of a binary or image struct column; None for null rows and for what is no picture."""
    return [None if value is None else decode(value) for value in array.to_pylist()]


def stack(pictures: Sequence[Picture], name: str) -> Picture:
    """Return pictures of one size as (n, 3, H, W); DataError names the sizes if they differ."""
    sizes = sorted({picture.shape[1:] for picture in pictures})
    if len(sizes) > 1:
        shown = ", ".join(f"{height}x{width}" for height, width in sizes[:4])
        raise DataError(
            f"column {name!r} has pictures of {len(sizes)} sizes (height x width {shown}): bring them to one"
        )
    return np.stack(pictures)


@cache
def opencv() -> Any:
    """Return OpenCV's module, None where it is not installed."""
    try:
        import cv2
    # Not installed, or built for libraries that this host does not have.
    except ImportError:
        return None
    return cv2


def _from_bytes(value: bytes) -> Picture | None:
    pixels = _from_jpeg(value) if opencv() is not None and _is_plain_jpeg(value) else None
    return _by_pillow(value) if pixels is None else pixels


def _is_plain_jpeg(value: bytes) -> bool:
    """Whether this is a JPEG that is whole, of 8 bits, gray or in three colours."""
    if not (value.startswith(_JPEG_START) and value.endswith(_JPEG_END)):
        return False
    place = len(_JPEG_START)
    while place + 9 < len(value) and value[place] == 0xFF:
        if value[place + 1] in _FRAMES:
            return value[place + 4] == 8 and value[place + 9] in (1, 3)
        place += 2 + int.from_bytes(value[place + 2 : place + 4], "big")
    return False


def _from_jpeg(value: bytes) -> Picture | None:
    cv2 = opencv()
    try:
        pixels = cv2.imdecode(np.frombuffer(value, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    if pixels is None:
        return None
    picture = np.empty((3, *pixels.shape[:2]), np.uint8)
    # Its colours are blue, green, red.
    cv2.split(pixels, [picture[2], picture[1], picture[0]])
    return picture


def _by_pillow(value: bytes) -> Picture | None:
    try:
        from PIL import Image
    except ImportError as error:
        raise DataError("image columns need Pillow on every host: pip install 'sparkdl[image]'") from error
    try:
        with Image.open(io.BytesIO(value)) as image:
            if image.mode in _DEEP_MODES:
                gray = np.asarray(image).astype(np.int64)
                return _gray(np.clip(gray >> 8, 0, 255).astype(np.uint8))
            pixels = np.asarray(image.convert("RGB"))
    # Pillow raises whatever the broken bytes make its parsers trip over: SyntaxError, struct.error, ValueError, ...
    except Exception:
        return None
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _from_struct(value: Mapping[str, Any]) -> Picture | None:
    channels = _CHANNELS.get(value["mode"])
    height, width, data = value["height"], value["width"], value["data"]
    if channels is None or not data or height <= 0 or width <= 0 or len(data) != height * width * channels:
        return None
    pixels = np.frombuffer(data, dtype=np.uint8).reshape(height, width, channels)
    if channels == 1:
        return _gray(pixels[:, :, 0])
    return np.ascontiguousarray(pixels[:, :, 2::-1].transpose(2, 0, 1))


def _gray(pixels: Picture) -> Picture:
    return np.ascontiguousarray(np.broadcast_to(pixels, (3, *pixels.shape)))
