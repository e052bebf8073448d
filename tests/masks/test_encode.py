"""Files that are read back by other readers than wrote them, and bytes that are always the same."""

import csv
import io
import zipfile
from dataclasses import fields

import numpy as np
import pytest
import tifffile
from PIL import Image

from metseg.data.readers.images import decode
from metseg.masks.colours import PREDICTION_COLOUR
from metseg.masks.encode import archive, encode_png, lesions_csv, mask_png, mask_tiff, overlay
from metseg.masks.lesions import Lesion, measure_lesions

INK = [240, 160, 0]  # PREDICTION_COLOUR
MASK = np.array([[True, False, False], [False, True, True]])


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, (20, 30, 3), dtype=np.uint8)


@pytest.fixture
def square() -> np.ndarray:
    """A square of 6 × 6 px: 20 on its border, 16 within."""
    mask = np.zeros((20, 30), bool)
    mask[5:11, 8:14] = True
    return mask


# images and masks


def test_png_of_a_mask():
    picture = Image.open(io.BytesIO(mask_png(MASK)))
    assert (picture.format, picture.mode, picture.size) == ("PNG", "L", (3, 2))
    assert np.asarray(picture).tolist() == [[255, 0, 0], [0, 255, 255]]


def test_tiff_of_a_mask():
    with tifffile.TiffFile(io.BytesIO(mask_tiff(MASK))) as tif:
        (page,) = tif.pages
        assert page.photometric == tifffile.PHOTOMETRIC.MINISBLACK and page.software == "metseg"
        assert "DateTime" not in page.tags  # the same mask is the same file tomorrow
        pixels = page.asarray()
    assert pixels.dtype == np.uint8 and pixels.tolist() == [[255, 0, 0], [0, 255, 255]]
    with tifffile.TiffFile(io.BytesIO(mask_tiff(MASK, software="metseg predict"))) as tif:
        assert tif.pages[0].software == "metseg predict"


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (3, 4), (4, 3), (1, 60), (60, 1), (64, 48)])
@pytest.mark.parametrize("encode", [mask_png, mask_tiff])
def test_masks_of_any_shape_come_back(encode, shape):
    """Sides of 3 and 4 px, which a writer could take for channels, among them."""
    mask = np.random.default_rng(1).random(shape) < 0.5
    pixels = decode(encode(mask), "the mask").array[0, 0]
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, mask * np.uint8(255))


def test_png_of_colours(image):
    picture = Image.open(io.BytesIO(encode_png(image)))
    assert picture.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(picture), image)
    np.testing.assert_array_equal(
        np.asarray(Image.open(io.BytesIO(encode_png(image[..., 0])))), image[..., 0]
    )


@pytest.mark.parametrize("encode", [mask_png, mask_tiff])
def test_the_same_mask_is_the_same_file(encode, square):
    assert encode(square) == encode(square.copy())
    assert encode(square) == encode(np.asfortranarray(square))
    assert encode(square) != encode(~square)


# overlay


def test_what_is_outside_stays_and_the_inside_is_tinted(image, square):
    before = image.copy()
    shown = overlay(image, square, opacity=0.25)
    assert shown.dtype == np.uint8 and shown.shape == image.shape
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(shown[~square], image[~square])
    inside = np.s_[6:10, 9:13]
    np.testing.assert_array_equal(shown[inside], np.rint(0.75 * image[inside] + 0.25 * np.array(INK)))
    border = square.copy()
    border[inside] = False
    assert (shown[border] == INK).all()


def test_opacity_of_nothing_and_of_all(image, square):
    outlined = overlay(image, square, opacity=0)
    np.testing.assert_array_equal(outlined[6:10, 9:13], image[6:10, 9:13])
    assert (outlined[square] == INK).all(axis=-1).sum() == 20
    filled = overlay(image, square, opacity=1)
    assert (filled[square] == INK).all()
    for shown in (outlined, filled):
        np.testing.assert_array_equal(shown[~square], image[~square])


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_the_border_is_the_outermost_pixels_of_lesions_and_around_holes(share):
    """Dots, holes, corners and the edge of the slice, whatever lies where."""
    rng = np.random.default_rng(4)
    for _ in range(20):
        mask, image = rng.random((17, 23)) < share, rng.integers(0, 200, (17, 23, 3), dtype=np.uint8)
        shown = overlay(image, mask, opacity=0)
        around = np.pad(mask, 1)
        enclosed = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
        np.testing.assert_array_equal((shown != image).any(axis=-1), mask & ~enclosed)


def test_a_slice_of_one_channel_is_shown_in_grey(image, square):
    shown = overlay(image[..., 1], square)
    assert shown.shape == (20, 30, 3)
    assert (shown[~square] == image[~square][:, 1:2]).all()


@pytest.mark.parametrize("empty", [True, False])
def test_no_lesion_and_nothing_but_lesion(image, empty):
    mask = np.full((20, 30), not empty)
    shown = overlay(image, mask, opacity=0)
    changed = np.ones((20, 30), bool)
    changed[1:-1, 1:-1] = False
    np.testing.assert_array_equal((shown != image).any(axis=-1), changed & mask)


def test_another_colour(image, square):
    shown = overlay(image, square, opacity=1, colour="#0102FF")
    assert (shown[square] == [1, 2, 255]).all()
    assert "#{:02X}{:02X}{:02X}".format(*INK) == PREDICTION_COLOUR


# lesions


def test_lesions_come_back():
    mask = np.zeros((12, 12), bool)
    mask[1:4, 1:4] = mask[8, 9] = True
    prob_map = np.where(mask, np.float32(0.7), np.float32(0))
    lesions, _ = measure_lesions(mask, prob_map, spacing_mm=(5.0, 0.5, 0.5))
    text = lesions_csv(lesions).decode()
    assert text.endswith("\n") and "\r" not in text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == [field.name for field in fields(Lesion)]
    assert [row["number"] for row in rows] == ["1", "2"] and [row["area_px"] for row in rows] == ["9", "1"]
    for row, lesion in zip(rows, lesions, strict=True):
        assert {name: float(value) for name, value in row.items()} == pytest.approx(vars(lesion), abs=5e-5)


def test_what_is_unknown_is_left_blank():
    lesions, _ = measure_lesions(np.ones((1, 1), bool), np.ones((1, 1), np.float32))
    (row,) = csv.DictReader(io.StringIO(lesions_csv(lesions).decode()))
    assert row["area_mm2"] == row["diameter_mm"] == "" and row["diameter_px"] == "1.1284"


def test_no_lesion_is_a_table_without_rows():
    assert lesions_csv([]).decode() == ",".join(field.name for field in fields(Lesion)) + "\n"


# archive


def test_archive_holds_the_files_as_they_are(square):
    files = {"mask.png": mask_png(square), "lesions.csv": lesions_csv([]), "empty": b""}
    with zipfile.ZipFile(io.BytesIO(archive(files))) as zipped:
        assert zipped.testzip() is None
        assert {name: zipped.read(name) for name in zipped.namelist()} == files
        assert zipped.namelist() == list(files)
        for each in zipped.infolist():
            assert each.date_time == (1980, 1, 1, 0, 0, 0)
            assert each.external_attr >> 16 == 0o600  # its owner may read what was unpacked


def test_the_same_files_are_the_same_archive(square, monkeypatch):
    files = {"mask.png": mask_png(square), "mask.tif": mask_tiff(square)}
    first = archive(files)
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    assert archive(dict(files)) == first
    assert archive({**files, "mask.tif": mask_tiff(~square)}) != first
