"""Pictures of every kind that Spark and users hand in, as (3, H, W) uint8 RGB."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from sparkdl.data import images
from sparkdl.errors import DataError

RGB = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)


def encoded(image: Image.Image, form: str = "PNG") -> bytes:
    sink = io.BytesIO()
    image.save(sink, form)
    return sink.getvalue()


def test_png_is_exact() -> None:
    picture = images.decode(encoded(Image.fromarray(RGB)))
    assert picture is not None
    np.testing.assert_array_equal(picture, RGB.transpose(2, 0, 1))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "LA", "1"])
def test_other_modes_become_rgb(mode: str) -> None:
    image = Image.fromarray(RGB).convert(mode)
    picture = images.decode(encoded(image))
    assert picture is not None
    np.testing.assert_array_equal(picture, np.asarray(image.convert("RGB")).transpose(2, 0, 1))


def test_jpeg_in_cmyk_becomes_rgb() -> None:
    image = Image.new("CMYK", (6, 4), (0, 255, 255, 0))
    picture = images.decode(encoded(image, "JPEG"))
    assert picture is not None
    assert picture.shape == (3, 4, 6)
    assert np.abs(picture[:, 0, 0].astype(int) - [255, 0, 0]).max() < 10


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("quality", [30, 75, 95])
def test_opencv_and_pillow_decode_the_same_pixels(mode: str, subsampling: int, quality: int) -> None:
    assert images.opencv() is not None
    rough = Image.fromarray(np.random.default_rng(quality).integers(0, 256, (8, 8, 3), dtype=np.uint8))
    for progressive in (False, True):
        for width, height in ((64, 64), (33, 47)):
            smooth = rough.resize((width, height), Image.Resampling.BICUBIC)
            sink = io.BytesIO()
            smooth.convert(mode).save(sink, "JPEG", quality=quality, subsampling=subsampling, progressive=progressive)
            fast = images._from_jpeg(sink.getvalue())
            assert fast is not None
            np.testing.assert_array_equal(images.decode(sink.getvalue()), fast)
            np.testing.assert_array_equal(images._by_pillow(sink.getvalue()), fast)


def test_jpegs_are_decoded_by_opencv_only_where_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    value = encoded(Image.fromarray(RGB), "JPEG")
    monkeypatch.setattr(images, "_by_pillow", lambda value: None)
    assert images.decode(value) is not None
    monkeypatch.setattr(images, "opencv", lambda: None)
    assert images.decode(value) is None


def test_only_whole_ordinary_jpegs_go_to_opencv() -> None:
    whole = encoded(Image.fromarray(RGB), "JPEG")
    assert images._is_plain_jpeg(whole)
    for other in (whole[:-10], whole[:2], whole[:2] + whole[-2:], encoded(Image.fromarray(RGB)), b""):
        assert not images._is_plain_jpeg(other)
    assert not images._is_plain_jpeg(encoded(Image.new("CMYK", (6, 4)), "JPEG"))
    assert images.decode(whole[:-10]) is None


def test_exif_rotation_is_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    sink = io.BytesIO()
    Image.fromarray(RGB).save(sink, "JPEG", exif=exif)
    picture = images.decode(sink.getvalue())
    assert picture is not None
    assert picture.shape == (3, 4, 5)


def test_sixteen_bits_keep_their_upper_eight() -> None:
    deep = np.array([[0, 255], [256, 65535]], dtype=np.uint16)
    picture = images.decode(encoded(Image.fromarray(deep)))
    assert picture is not None
    np.testing.assert_array_equal(picture, np.broadcast_to([[0, 0], [1, 255]], (3, 2, 2)))


@pytest.mark.parametrize(("mode", "channels"), [(0, 1), (16, 3), (24, 4)])
def test_the_image_struct_is_bgr(mode: int, channels: int) -> None:
    data = np.random.default_rng(1).integers(0, 256, (4, 5, channels), dtype=np.uint8)
    struct = {"height": 4, "width": 5, "nChannels": channels, "mode": mode, "data": data.tobytes()}
    picture = images.decode(struct)
    assert picture is not None
    expected = np.repeat(data, 3, axis=2) if channels == 1 else data[:, :, [2, 1, 0]]
    np.testing.assert_array_equal(picture, expected.transpose(2, 0, 1))


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"no picture",
        encoded(Image.fromarray(RGB))[:40],
        {"height": -1, "width": -1, "nChannels": -1, "mode": -1, "data": b""},
        {"height": 2, "width": 2, "nChannels": 3, "mode": 16, "data": b"short"},
    ],
)
def test_what_is_no_picture_is_none(value: bytes) -> None:
    assert images.decode(value) is None


def test_a_column_with_nulls_and_sizes_that_differ() -> None:
    small, large = Image.new("RGB", (2, 2)), Image.new("RGB", (3, 2))
    decoded = images.decode_all(pa.array([encoded(small), None, b"x"], pa.binary()))
    assert [picture is None for picture in decoded] == [False, True, True]
    both = [picture for picture in map(images.decode, (encoded(small), encoded(large))) if picture is not None]
    with pytest.raises(DataError, match=r"'pic' has pictures of 2 sizes .*2x2, 2x3"):
        images.stack(both, "pic")
