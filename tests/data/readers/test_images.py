"""Files of every kind give their pixels, or one sentence on what is wrong with them."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from complaints import complaint, tiff

from metseg.base.errors import MetsegError
from metseg.data.readers.images import decode, read_image, read_labels

SHAPE = (24, 32)


def pixels_of(path) -> np.ndarray:
    """(H, W, 3) of a slice."""
    return read_image(path).channels_last[0]


def read_mask(path, shape) -> np.ndarray:
    return read_labels(path, shape) > 0


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib"},
        {"compression": "lzw"},
        {"byteorder": ">"},
        {"bigtiff": True},
        {"rowsperstrip": 5},
        {"tile": (16, 16)},
    ],
)
def test_tiff_of_any_kind_gives_its_pixels(tmp_path, noise, options):
    path = tiff(tmp_path / "a.tif", noise(1), photometric="rgb", **options)
    assert (pixels_of(path) == noise(1)).all()


def test_tiff_with_separate_planes_gives_its_pixels(tmp_path, noise):
    path = tiff(
        tmp_path / "a.tif", np.moveaxis(noise(1), -1, 0).copy(), photometric="rgb", planarconfig="separate"
    )
    assert (pixels_of(path) == noise(1)).all()


def test_png_keeps_pixels_and_the_order_of_channels(tmp_path, noise):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), noise(1)[..., ::-1])
    assert (pixels_of(path) == noise(1)).all()


def test_jpeg_keeps_the_order_of_channels(tmp_path):
    image = np.zeros((16, 16, 3), np.uint8)
    image[..., 0] = 200
    path = tmp_path / "a.jpg"
    cv2.imwrite(str(path), image[..., ::-1])
    assert np.abs(pixels_of(path).astype(int) - image).max() <= 3


def test_spacing_survives_the_way_through_a_file(tmp_path, noise):
    tags = {"resolutionunit": "CENTIMETER", "description": "spacing_mm=5.5", "metadata": None}
    path = tiff(tmp_path / "a.tif", noise(1), photometric="rgb", resolution=(40, 20), **tags)
    spacing = decode(path.read_bytes(), "a").spacing_mm
    assert spacing == pytest.approx((5.5, 0.5, 0.25))  # 20 px/cm along y, 40 along x


@pytest.mark.parametrize(
    "changes",
    [
        {"description": ""},
        {"description": "spacing_mm=1.2.3"},
        {"resolutionunit": "INCH"},
        {"resolution": (0, 20)},
    ],
)
def test_unknown_spacing_is_none_and_the_pixels_are_read_all_the_same(tmp_path, noise, changes):
    tags = {"resolution": (40, 20), "resolutionunit": "CENTIMETER", "description": "spacing_mm=5"}
    path = tiff(tmp_path / "a.tif", noise(1), photometric="rgb", metadata=None, **{**tags, **changes})
    volume = decode(path.read_bytes(), "a")
    assert volume.spacing_mm is None
    assert (volume.channels_last[0] == noise(1)).all()


@pytest.mark.parametrize(
    ("pixels", "options", "sentence"),
    [
        (np.zeros((24, 32, 3), np.float32), {"photometric": "rgb"}, "is float32; rescale it to 8 bits"),
        (np.zeros((24, 32, 3), np.uint16), {"photometric": "rgb"}, "is uint16; rescale it to 8 bits"),
        (
            np.zeros((24, 32), np.uint8),
            {},
            "has 1 channel (grey); expected 3 channels: pre-contrast, FLAIR",
        ),
        (
            np.zeros((24, 32, 4), np.uint8),
            {"photometric": "rgb"},
            "has 4 channels (t1, flair, t1c, alpha); expected 3",
        ),
        (np.zeros((2, 24, 32, 3), np.uint8), {"photometric": "rgb"}, "has several pages; save each slice"),
        (np.zeros((24, 32), np.uint8), {"photometric": "miniswhite"}, "is stored as MINISWHITE; save"),
    ],
)
def test_tiff_of_another_kind_is_refused(tmp_path, pixels, options, sentence):
    path = tiff(tmp_path / "bad.tif", pixels, **options)
    assert f"{path} {sentence}" in complaint(read_image, path)


def test_a_palette_is_refused_for_its_numbers_are_no_brightness(tmp_path):
    colours = np.zeros((3, 256), np.uint16)
    path = tiff(tmp_path / "a.tif", np.ones(SHAPE, np.uint8), photometric="palette", colormap=colours)
    assert f"{path} is stored as PALETTE; save" in complaint(read_labels, path, SHAPE)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"compression": "lzw"}])
def test_a_truncated_tiff_is_refused_wherever_it_was_cut(tmp_path, noise, options):
    path = tiff(tmp_path / "cut.tif", noise(1, (8, 8)), photometric="rgb", metadata=None, **options)
    whole = path.read_bytes()
    assert pixels_of(path).shape == (8, 8, 3)
    for end in (*range(0, len(whole), 7), len(whole) - 1):
        path.write_bytes(whole[:end])
        text = complaint(read_image, path)
        assert str(path) in text and "pages" not in text
        assert "copy it again" in text or "is no image or is truncated" in text


def test_a_tiff_with_its_directory_last_is_refused_or_whole_wherever_it_was_cut(tmp_path, noise):
    path = tmp_path / "cut.tif"
    cv2.imwrite(str(path), noise(1, (8, 8)), [cv2.IMWRITE_TIFF_COMPRESSION, 1])  # libtiff, as most programs
    whole, pixels = path.read_bytes(), pixels_of(path)
    survived = []
    for end in range(0, len(whole), 3):
        path.write_bytes(whole[:end])
        try:
            assert (pixels_of(path) == pixels).all()
            survived.append(end)
        except MetsegError as error:
            assert str(path) in str(error) and "pages" not in str(error)
    assert min(survived, default=len(whole)) > 8 * 8 * 3 + 8  # never without the last pixel


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.5, 0.9, 0.99])
def test_a_truncated_png_or_jpeg_is_refused(tmp_path, noise, suffix, share):
    path = tmp_path / f"cut{suffix}"
    cv2.imwrite(str(path), noise(1, (256, 256)))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    text = complaint(read_image, path)
    assert text.startswith(str(path)) and "is truncated" in text
    assert ("is no image or" in text) == (share == 0)


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"Dear colleague, please find attached", b"II*\0"])
def test_what_is_no_image_is_refused(tmp_path, content):
    path = tmp_path / "letter.tif"
    path.write_bytes(content)
    assert str(path) in complaint(read_image, path)


def test_a_png_that_claims_a_huge_size_is_refused(tmp_path):
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    path = tmp_path / "bomb.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"0"))
        + chunk(b"IEND", b"")
    )
    assert str(path) in complaint(read_image, path)


@pytest.mark.parametrize("name", ["missing.tif", "folder.tif"])
def test_what_cannot_be_opened_is_refused(tmp_path, name):
    (tmp_path / "folder.tif").mkdir()
    assert f"{tmp_path / name} cannot be opened" in complaint(read_image, tmp_path / name)
    assert f"{tmp_path / name} cannot be opened" in complaint(read_labels, tmp_path / name, SHAPE)


@pytest.mark.parametrize("high", [1, 128, 255])
def test_a_mask_of_zero_and_one_other_value_is_read(tmp_path, square, high):
    path = tiff(tmp_path / "m.tif", square(4).astype(np.uint8) * high)
    mask = read_mask(path, SHAPE)
    assert (mask == square(4)).all()


@pytest.mark.parametrize(("value", "lesion"), [(0, 0), (255, 768)])
def test_a_mask_of_one_value_is_empty_or_full(tmp_path, value, lesion):
    path = tiff(tmp_path / "m.tif", np.full(SHAPE, value, np.uint8))
    assert read_mask(path, SHAPE).sum() == lesion


def test_a_bilevel_mask_is_read(tmp_path, square):
    path = tiff(tmp_path / "m.tif", square(4), photometric="minisblack")
    assert (read_mask(path, SHAPE) == square(4)).all()


@pytest.mark.parametrize(
    ("values", "count"), [((0, 128, 255), 3), ((1, 255), 2), ((0.0, np.nan), 2), ((-1.0, 0.0), 2)]
)
def test_a_mask_of_other_values_is_refused(tmp_path, values, count):
    pixels = np.resize(np.array(values, np.uint8 if isinstance(values[0], int) else np.float32), SHAPE)
    path = tiff(tmp_path / "m.tif", pixels)
    sentence = f"{path} has {count} grey values; save the mask with 0 and 255 only"
    assert sentence == complaint(read_labels, path, SHAPE)


def test_a_mask_of_another_size_is_refused(tmp_path):
    path = tiff(tmp_path / "m.tif", np.zeros((32, 24), np.uint8))
    sentence = f"{path} is (32, 24) but its image is (24, 32); export both at one size"
    assert sentence == complaint(read_labels, path, SHAPE)


def test_a_mask_with_channels_is_refused_for_its_channels(tmp_path, noise):
    path = tiff(tmp_path / "m.tif", noise(1), photometric="rgb")
    assert f"{path} has 3 channels; save the mask with one channel" in complaint(read_labels, path, SHAPE)
