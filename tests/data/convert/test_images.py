"""Images of every kind that Spark and users hand in, as (3, H, W) uint8 RGB."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from PIL import Image

from sparkdl.data.convert import images
from sparkdl.data.types import to_tensor, type_of
from sparkdl.errors import DataError
from sparkdl.schema import IMAGE, INPUT, Field

RGB = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)


def encoded(image: Image.Image, form: str = "PNG") -> bytes:
    sink = io.BytesIO()
    image.save(sink, form)
    return sink.getvalue()


def test_png_is_exact() -> None:
    image = images.decode(encoded(Image.fromarray(RGB)))
    assert image is not None
    np.testing.assert_array_equal(image, RGB.transpose(2, 0, 1))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "LA", "1"])
def test_other_modes_become_rgb(mode: str) -> None:
    original = Image.fromarray(RGB).convert(mode)
    image = images.decode(encoded(original))
    assert image is not None
    np.testing.assert_array_equal(image, np.asarray(original.convert("RGB")).transpose(2, 0, 1))


def test_jpeg_in_cmyk_becomes_rgb() -> None:
    image = images.decode(encoded(Image.new("CMYK", (6, 4), (0, 255, 255, 0)), "JPEG"))
    assert image is not None
    assert image.shape == (3, 4, 6)
    assert np.abs(image[:, 0, 0].astype(int) - [255, 0, 0]).max() < 10


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("quality", [30, 75, 95])
def test_simplejpeg_and_pillow_decode_the_same_pixels(mode: str, subsampling: int, quality: int) -> None:
    rough = Image.fromarray(np.random.default_rng(quality).integers(0, 256, (8, 8, 3), dtype=np.uint8))
    for progressive in (False, True):
        for width, height in ((64, 64), (33, 47)):
            smooth = rough.resize((width, height), Image.Resampling.BICUBIC)
            sink = io.BytesIO()
            smooth.convert(mode).save(sink, "JPEG", quality=quality, subsampling=subsampling, progressive=progressive)
            fast, slow = images._by_simplejpeg(sink.getvalue()), images._by_pillow(sink.getvalue())
            assert fast is not None
            assert slow is not None
            np.testing.assert_array_equal(fast, slow)
            np.testing.assert_array_equal(images.decode(sink.getvalue()), fast.transpose(2, 0, 1))


@pytest.mark.parametrize("missing", ["simplejpeg", "cv2"])
def test_images_are_the_same_without_what_makes_them_fast(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    column = pa.array([encoded(Image.fromarray(RGB), "JPEG"), encoded(Image.fromarray(RGB))], pa.binary())

    def outcome() -> list[npt.NDArray[Any]]:
        rooms = np.zeros((2, 4, 5, 3), np.uint8)
        assert images.decode_rows(column, rooms) == [(4, 5), (4, 5)]
        decoded = [image for image in images.decode_all(column) if image is not None]
        return [rooms, *decoded]

    there = outcome()
    module = images._module
    monkeypatch.setattr(images, "_module", lambda name: None if name == missing else module(name))
    for one, other in zip(there, outcome(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_only_whole_ordinary_jpegs_are_decoded_by_simplejpeg() -> None:
    whole = encoded(Image.fromarray(RGB), "JPEG")
    assert images._by_simplejpeg(whole) is not None
    for other in (whole[:-10], whole[:2], whole[:2] + whole[-2:], b"", encoded(Image.new("CMYK", (6, 4)), "JPEG")):
        assert images._by_simplejpeg(other) is None
    assert images.decode(whole[:-10]) is None


def test_a_jpeg_made_to_fill_memory_is_no_image() -> None:
    whole = bytearray(encoded(Image.fromarray(RGB), "JPEG"))
    frame = whole.index(b"\xff\xc0")
    # Height and width of the frame: 12 GB of pixels.
    whole[frame + 5 : frame + 9] = b"\xff\xdc\xff\xdc"
    assert images._by_simplejpeg(bytes(whole)) is None
    assert images.decode(bytes(whole)) is None
    room = np.zeros((1, 4, 5, 3), np.uint8)
    assert images.decode_rows(pa.array([bytes(whole)], pa.binary()), room) == [None]
    assert not room.any()


def test_each_image_goes_to_its_room_and_tells_its_size() -> None:
    large, gray = Image.new("RGB", (9, 9)), Image.fromarray(RGB).convert("L")
    values = [encoded(large, "JPEG"), encoded(Image.new("RGB", (2, 3)), "JPEG"), b"x", None]
    good = [encoded(gray, "JPEG"), encoded(Image.fromarray(RGB))]
    rooms = np.zeros((6, 4, 5, 3), np.uint8)
    assert images.decode_rows(pa.array(values + good, pa.binary()), rooms) == [
        (9, 9),
        (3, 2),
        None,
        None,
        (4, 5),
        (4, 5),
    ]
    assert not rooms[2:4].any()
    part = pa.array([*good, *good], pa.binary()).slice(1, 2)
    again = np.zeros((2, 4, 5, 3), np.uint8)
    assert images.decode_rows(part, again) == [(4, 5), (4, 5)]
    np.testing.assert_array_equal(again, rooms[[5, 4]])
    np.testing.assert_array_equal(rooms[5], RGB)


def test_exif_rotation_is_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    sink = io.BytesIO()
    Image.fromarray(RGB).save(sink, "JPEG", exif=exif)
    image = images.decode(sink.getvalue())
    assert image is not None
    assert image.shape == (3, 4, 5)


def test_sixteen_bits_keep_their_upper_eight() -> None:
    deep = np.array([[0, 255], [256, 65535]], dtype=np.uint16)
    image = images.decode(encoded(Image.fromarray(deep)))
    assert image is not None
    np.testing.assert_array_equal(image, np.broadcast_to([[0, 0], [1, 255]], (3, 2, 2)))


def tiff(numbers: npt.NDArray[Any], tags: dict[int, Any] | None = None) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(numbers).save(sink, "TIFF", tiffinfo=tags or {})
    return sink.getvalue()


def with_tag(data: bytes, tag: int, value: int) -> bytes:
    """A TIFF with another short in a tag that Pillow would not write so."""
    entry = data.index(struct.pack("<HHI", tag, 3, 1))
    return data[: entry + 8] + struct.pack("<H", value) + data[entry + 10 :]


def test_more_than_eight_bits_are_scaled_by_their_range() -> None:
    fractions = np.array([[0, 1 / 255], [0.5, 1]], np.float32)
    deep = np.array([[0, 255], [256, 65535]], np.uint16)
    whole = tiff(deep)
    for data, expected in (
        (tiff(fractions), [[0, 1], [128, 255]]),
        (whole, [[0, 0], [1, 255]]),
        (with_tag(whole, 262, 0), [[255, 255], [254, 0]]),
        (encoded(Image.fromarray(deep), "PPM"), [[0, 0], [1, 255]]),
        (encoded(Image.fromarray(deep), "JPEG2000"), [[0, 0], [1, 255]]),
    ):
        image = images.decode(data)
        assert image is not None
        np.testing.assert_array_equal(image, np.broadcast_to(expected, (3, 2, 2)))


def test_twelve_bits_are_scaled_by_their_range() -> None:
    # Two rows of two pixels, 0, 255, 256 and 4095, three bytes a row.
    data = with_tag(tiff(np.zeros((2, 2), np.uint16)), 258, 12)
    (offset,) = struct.unpack("<I", data[(at := data.index(struct.pack("<HH", 273, 4))) + 8 : at + 12])
    data = data[:offset] + bytes([0x00, 0x00, 0xFF, 0x10, 0x0F, 0xFF]) + data[offset + 6 :]
    image = images.decode(data)
    assert image is not None
    np.testing.assert_array_equal(image[0], [[0, 15], [16, 255]])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (tiff(np.array([[0, 255.0]], np.float32)), "a TIFF image of fractions from 0 to 255, not from 0 to 1"),
        (tiff(np.array([[0, np.nan]], np.float32)), "a TIFF image of fractions from nan to nan"),
        (tiff(np.array([[0, 5]], np.int32)), "a TIFF image of whole numbers of 32 bits, or with a sign, which 8 bits"),
        (
            with_tag(tiff(np.array([[0, 5]], np.uint16), {339: 2}), 339, 2),
            "a TIFF image of whole numbers of 32 bits, or with a sign",
        ),
    ],
)
def test_what_eight_bits_cannot_hold_is_refused(data: bytes, words: str) -> None:
    field = Field("pic", INPUT, IMAGE, ("pic",), "float32", (3, 1, 2))
    column = pa.array([data], pa.binary())
    for read in (
        lambda: to_tensor([column], field),
        lambda: type_of(field).decode(column, field, np.zeros((1, 3, 1, 2), np.uint8)),
        lambda: type_of(field).first_shape(column, field),
    ):
        with pytest.raises(DataError, match=f"column 'pic' has {words}"):
            read()


@pytest.mark.parametrize(("mode", "channels"), [(0, 1), (16, 3), (24, 4)])
def test_the_image_struct_is_bgr(mode: int, channels: int) -> None:
    data = np.random.default_rng(1).integers(0, 256, (4, 5, channels), dtype=np.uint8)
    row = {"height": 4, "width": 5, "nChannels": channels, "mode": mode, "data": data.tobytes()}
    image = images.decode(row)
    assert image is not None
    expected = np.repeat(data, 3, axis=2) if channels == 1 else data[:, :, [2, 1, 0]]
    np.testing.assert_array_equal(image, expected.transpose(2, 0, 1))


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"no image",
        encoded(Image.fromarray(RGB))[:40],
        {"height": -1, "width": -1, "nChannels": -1, "mode": -1, "data": b""},
        {"height": 2, "width": 2, "nChannels": 3, "mode": 16, "data": b"short"},
    ],
)
def test_what_is_no_image_is_none(value: bytes) -> None:
    assert images.decode(value) is None


def test_a_column_with_nulls_and_sizes_that_differ() -> None:
    small, large = Image.new("RGB", (2, 2)), Image.new("RGB", (3, 2))
    decoded = images.decode_all(pa.array([encoded(small), None, b"x"], pa.binary()))
    assert [image is None for image in decoded] == [False, True, True]
    both = [image for image in map(images.decode, (encoded(small), encoded(large))) if image is not None]
    with pytest.raises(DataError, match=r"'pic' has images of 2 sizes .*2x2, 2x3"):
        images.stack(both, "pic")
