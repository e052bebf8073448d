"""Lesions drawn by hand, measured by hand."""

import math
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from metseg.masks.lesions import least_pixels, measure_lesions

# Three lesions of 6, 2 and 1 px; 1 is the L in the middle, 2 touches by its corner alone, 3 is the dot.
DRAWN = np.array(
    [
        [0, 0, 0, 0, 0, 0, 3],
        [0, 1, 0, 0, 0, 0, 0],
        [0, 1, 0, 0, 0, 0, 0],
        [0, 1, 1, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 2, 0],
        [0, 0, 0, 0, 0, 0, 2],
    ]
)
PROBABILITIES = np.where(DRAWN == 1, 0.75, np.where(DRAWN == 3, 0.625, 0.25)).astype(np.float32)
PROBABILITIES[3, 4] = 1.0  # of the first lesion; all are sums of powers of two, exact in float32
PROBABILITIES[5, 5], PROBABILITIES[6, 6] = 0.5, 0.875


def test_by_hand():
    lesions, numbers = measure_lesions(DRAWN > 0, PROBABILITIES)
    assert numbers.dtype == np.int32
    np.testing.assert_array_equal(numbers, DRAWN)
    first, second, third = lesions
    assert [each.number for each in lesions] == [1, 2, 3]
    assert [each.area_px for each in lesions] == [6, 2, 1]
    assert (first.row, first.column) == (
        pytest.approx((1 + 2 + 4 * 3) / 6),
        pytest.approx((3 * 1 + 2 + 3 + 4) / 6),
    )
    assert (second.row, second.column) == (5.5, 5.5)
    assert (third.row, third.column) == (0, 6)  # the centre of a pixel, not its corner
    assert first.mean_probability == pytest.approx((5 * 0.75 + 1) / 6) and first.max_probability == 1
    assert (second.mean_probability, second.max_probability) == (0.6875, 0.875)
    assert (third.mean_probability, third.max_probability) == (0.625, 0.625)


def test_diameter_is_that_of_a_disk_of_the_same_area():
    y, x = np.mgrid[:101, :101]
    disk = (y - 50) ** 2 + (x - 50) ** 2 <= 40**2
    (lesion,), _ = measure_lesions(disk, disk.astype(np.float32))
    assert lesion.diameter_px == pytest.approx(80, abs=0.5)
    (dot,), _ = measure_lesions(np.ones((1, 1), bool), np.ones((1, 1), np.float32))
    assert dot.diameter_px == pytest.approx(2 / math.sqrt(math.pi))


def test_millimetres_of_pixels_that_are_not_square():
    """Pixels of 2 mm by 0.5 mm have 1 mm²; the distance of slices, 7 mm, is no part of an area."""
    lesions, _ = measure_lesions(DRAWN > 0, PROBABILITIES, spacing_mm=(7.0, 2.0, 0.5))
    assert [each.area_mm2 for each in lesions] == [6, 2, 1]
    lesions, _ = measure_lesions(DRAWN > 0, PROBABILITIES, spacing_mm=(7.0, 3.0, 0.5))
    assert [each.area_mm2 for each in lesions] == [9, 3, 1.5]
    assert lesions[0].diameter_mm == pytest.approx(2 * math.sqrt(9 / math.pi))
    assert lesions[0].diameter_px == pytest.approx(2 * math.sqrt(6 / math.pi))
    assert lesions[1].row == 5.5  # places stay in pixels


def test_without_spacing_no_millimetres():
    lesions, _ = measure_lesions(DRAWN > 0, PROBABILITIES)
    assert {(each.area_mm2, each.diameter_mm) for each in lesions} == {(None, None)}


def test_of_equals_the_first_row_by_row_comes_first():
    """The dot at the right lies one row above the one at the left."""
    mask = np.zeros((8, 8), bool)
    mask[0, 4] = mask[1, 0] = mask[1, 7] = mask[5, 3] = True
    mask[7, 5:7] = True
    lesions, numbers = measure_lesions(mask, mask.astype(np.float32))
    places = [(each.row, each.column) for each in lesions]
    assert places == [(7, 5.5), (0, 4), (1, 0), (1, 7), (5, 3)]
    assert [numbers[7, 5], numbers[0, 4], numbers[1, 0], numbers[1, 7], numbers[5, 3]] == [1, 2, 3, 4, 5]


def test_nothing_found():
    lesions, numbers = measure_lesions(np.zeros((5, 7), bool), np.full((5, 7), 0.4, np.float32))
    assert lesions == []
    assert numbers.dtype == np.int32 and numbers.shape == (5, 7) and not numbers.any()


def test_a_slice_that_is_all_lesion():
    (lesion,), numbers = measure_lesions(np.ones((4, 6), bool), np.full((4, 6), 0.5, np.float32))
    assert (lesion.area_px, lesion.row, lesion.column) == (24, 1.5, 2.5)
    assert lesion.mean_probability == lesion.max_probability == 0.5
    assert (numbers == 1).all()


def test_every_pixel_belongs_to_its_lesion():
    rng = np.random.default_rng(0)
    mask, prob_map = rng.random((60, 80)) < 0.2, rng.random((60, 80), np.float32)
    lesions, numbers = measure_lesions(mask, prob_map)
    assert len(lesions) > 100
    np.testing.assert_array_equal(numbers > 0, mask)
    for lesion in lesions:
        rows, columns = np.nonzero(numbers == lesion.number)
        assert lesion.area_px == len(rows)
        assert (lesion.row, lesion.column) == pytest.approx((rows.mean(), columns.mean()))
        inside = prob_map[rows, columns]
        assert lesion.mean_probability == pytest.approx(inside.mean(dtype=np.float64))
        assert lesion.max_probability == inside.max()
    areas = [lesion.area_px for lesion in lesions]
    assert areas == sorted(areas, reverse=True)


def test_plain_values():
    """What is written as JSON must not be a number of NumPy's."""
    (lesion, *_), _ = measure_lesions(DRAWN > 0, PROBABILITIES, spacing_mm=(1.0, 1.0, 1.0))
    assert {type(value) for value in vars(lesion).values()} == {int, float}
    with pytest.raises(FrozenInstanceError):
        lesion.number = 2


@pytest.mark.parametrize("shapes", [((4, 5), (5, 4)), ((2, 4, 5), (2, 4, 5)), ((4,), (4,))])
def test_shapes_that_do_not_fit(shapes):
    mask, prob_map = np.zeros(shapes[0], bool), np.zeros(shapes[1], np.float32)
    with pytest.raises(ValueError, match="give both of one") as refused:
        measure_lesions(mask, prob_map)
    assert all(str(shape) in str(refused.value) for shape in shapes)


@pytest.mark.parametrize(
    ("area_mm2", "spacing_mm", "expected"),
    [
        (0, (5, 1.25, 1.25), 0),
        (1.5625, (5, 1.25, 1.25), 1),
        (20, (5, 1.25, 1.25), 13),  # 12.8 pixels
        (46.875, (5, 1.25, 1.25), 30),
        (1, (1, 0.5, 0.25), 8),
        (3 * 0.1 * 0.1, (1, 0.1, 0.1), 3),  # 0.030000000000000006 by the computer
    ],
)
def test_the_fewest_pixels_of_an_area(area_mm2, spacing_mm, expected):
    assert least_pixels(area_mm2, spacing_mm) == expected
