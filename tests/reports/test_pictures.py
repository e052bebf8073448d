"""Pictures show what radiologists expect: the patient's right on the left, anterior up."""

import io

import numpy as np
import pytest
from PIL import Image
from report_scan import LPS, draw

from metseg.reports.matching import Visit
from metseg.reports.pictures import LesionPictures


def panels(visit: Visit, **options) -> tuple[np.ndarray, np.ndarray]:
    """The whole slice and the close-up of the largest lesion, as grey values."""
    picture = Image.open(io.BytesIO(LesionPictures(visit, **options).jpeg(visit.lesions[0]))).convert("L")
    pixels, side = np.asarray(picture, float), picture.height
    return pixels[:, :side], pixels[:, -side:]


def mirrored(axes: tuple[int, ...]) -> Visit:
    """The same patient, stored with some axes (z, y, x) reversed."""
    volume, mask = draw()
    affine = LPS.copy()
    for axis in axes:
        column = 2 - axis
        affine[:3, 3] += affine[:3, column] * (mask.shape[axis] - 1)
        affine[:3, column] *= -1
    flipped = np.flip(volume.array, [axis + 1 for axis in axes])
    return Visit.of_mask("v", type(volume)(flipped, volume.channels, affine), np.flip(mask, axes))


@pytest.mark.parametrize("axes", [(2,), (1,), (0, 1, 2)])
def test_the_order_of_storage_changes_nothing(visit: Visit, axes: tuple[int, ...]):
    for plain, other in zip(panels(visit), panels(mirrored(axes)), strict=True):
        assert np.abs(plain - other).mean() < 2  # JPEG, and the rounding of lines


def test_right_is_on_the_left(visit: Visit):
    """x falls to the patient's right; there the head is darker and the lesion lies."""
    whole, _ = panels(visit)
    middle = whole[len(whole) // 2 :]
    assert middle[:, 100:200].mean() < middle[:, 220:320].mean()


def test_unknown_sides_are_not_mirrored_and_have_no_letters(visit: Visit):
    volume, mask = draw(None)
    unknown = Visit.of_mask("v", volume, mask)
    known, plain = panels(visit)[0], panels(unknown)[0]
    edge = slice(190, 230), slice(0, 30)
    assert known[edge].max() > 200 > plain[edge].max()


def test_the_close_up_shows_outline_and_diameters(visit: Visit):
    _, close = panels(visit)
    assert close.max() > 240  # white lines
    volume, mask = draw()
    bare = Visit.of_mask("v", volume, mask)
    assert LesionPictures(bare).channel == "t1c" and LesionPictures(bare, "flair").channel == "flair"


def test_a_window_of_all_that_is_not_background(visit: Visit):
    low, high = LesionPictures(visit).window
    assert 100 <= low < high <= 400


def test_a_picture_without_any_signal():
    volume, mask = draw()
    empty = Visit.of_mask("v", type(volume)(volume.array * 0, volume.channels, LPS), mask)
    assert panels(empty)[0].shape[0] > 0
