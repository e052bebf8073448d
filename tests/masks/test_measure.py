"""Lesions drawn by hand, measured by hand; diameters against a search over the whole outline."""

import math

import numpy as np
import pytest

from metseg.masks.measure import measure_mask, to_mm

RAS = np.array([[-2.0, 0, 0, 10], [0, -3, 0, 20], [0, 0, 5, -30], [0, 0, 0, 1]])  # steps of 2, 3, 5 mm


def one(pixels: np.ndarray, spacing_mm=(1, 1, 1), **known):
    (lesion,), _ = measure_mask(np.asarray(pixels, bool)[None], spacing_mm=spacing_mm, **known)
    return lesion


def test_one_voxel():
    mask = np.zeros((4, 5, 6), bool)
    mask[1, 2, 3] = True
    prob_map = np.full(mask.shape, 0.1, np.float32)
    prob_map[1, 2, 3] = 0.75
    (lesion,), numbers = measure_mask(mask, prob_map, affine=RAS)
    np.testing.assert_array_equal(numbers, mask)
    assert (lesion.number, lesion.voxels, lesion.slice_count, lesion.axial_slice) == (1, 1, 1, 1)
    assert lesion.volume_mm3 == pytest.approx(30)
    assert lesion.box == ((1, 2), (2, 3), (3, 4))
    assert lesion.centroid == (1, 2, 3)
    assert lesion.centroid_mm == pytest.approx((10 - 6, 20 - 6, -30 + 5))
    assert lesion.mean_probability == lesion.max_probability == 0.75 == pytest.approx(lesion.score)
    assert lesion.longest.mm == pytest.approx(3)  # the pixel's height
    assert lesion.perpendicular.mm == pytest.approx(2)
    assert sorted(lesion.longest.ends) == [(1.5, 3), (2.5, 3)]
    assert sorted(lesion.perpendicular.ends) == [(2, 2.5), (2, 3.5)]


def test_pixels_in_a_row_are_as_long_as_they_are():
    lesion = one(np.ones((1, 5)), (1, 2, 1))
    assert (lesion.longest.mm, lesion.perpendicular.mm) == pytest.approx((5, 2))
    lesion = one(np.ones((5, 1)), (1, 0.7, 0.5))
    assert (lesion.longest.mm, lesion.perpendicular.mm) == pytest.approx((3.5, 0.5))


def test_a_rectangle_by_hand():
    """Of 4 × 6 pixels: from the left side's upper pixel to the right one's lower, 6 across and 3 down."""
    lesion = one(np.ones((4, 6)))
    assert lesion.longest.mm == pytest.approx(math.sqrt(6**2 + 3**2))
    (y0, x0), (y1, x1) = lesion.longest.ends
    (v0, u0), (v1, u1) = lesion.perpendicular.ends
    assert (x1 - x0) * (u1 - u0) + (y1 - y0) * (v1 - v0) == pytest.approx(0)
    # Through the middle with slope 2, between the upper and the lower side, 4 apart: 4 down and 2 across.
    assert lesion.perpendicular.mm == pytest.approx(math.sqrt(4**2 + 2**2))


def test_the_slice_of_the_longest_diameter():
    mask = np.zeros((5, 9, 9), bool)
    mask[1, 4, 4] = mask[2, 4, 2:7] = mask[3, 4, 1:4] = True
    (lesion,), _ = measure_mask(mask, spacing_mm=(1, 1, 1))
    assert (lesion.axial_slice, lesion.slice_count, lesion.box[0]) == (2, 3, (1, 4))
    assert lesion.longest.mm == pytest.approx(5)


def test_rows_and_columns_that_are_not_perpendicular():
    sheared = np.eye(4)
    sheared[:2, 1] = 1, 1  # a row below lies 1 mm aside
    lesion = one(np.ones((3, 1)), None, affine=sheared)
    assert lesion.longest.mm == pytest.approx(3 * math.sqrt(2))
    assert lesion.volume_mm3 == pytest.approx(3)
    assert lesion.perpendicular.mm < 1


def test_diagonal_neighbours_are_one_lesion_and_the_largest_comes_first():
    mask = np.zeros((3, 4, 8), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[2, 2, 2] = True
    mask[:, :2, 5:7] = True
    lesions, numbers = measure_mask(mask)
    assert [each.voxels for each in lesions] == [12, 3]
    assert numbers[0, 0, 5] == 1 and numbers[2, 2, 2] == 2


def test_an_unknown_voxel_size_leaves_millimetres_out():
    lesion = one(np.ones((1, 5)), None)
    assert lesion.volume_mm3 is lesion.longest.mm is lesion.centroid_mm is lesion.mean_probability is None
    assert (lesion.longest.px, lesion.perpendicular.px) == pytest.approx((5, 1))


def test_nothing_marked():
    lesions, numbers = measure_mask(np.zeros((2, 3, 4), bool))
    assert lesions == [] and numbers.shape == (2, 3, 4) and not numbers.any()


def test_shapes_that_differ():
    with pytest.raises(ValueError, match=r"\(2, 3, 4\)"):
        measure_mask(np.zeros((2, 3, 4), bool), np.zeros((2, 3, 5)))


@pytest.mark.parametrize("seed", range(8))
def test_diameters_of_any_shape(seed: int):
    """Against all pairs of points halfway between pixels, and chords through a fine row of places."""
    rng = np.random.default_rng(seed)
    spacing = np.array(rng.uniform(0.4, 2, 2))  # (y, x)
    pixels = np.zeros((14, 14), bool)
    steps = np.cumsum(rng.integers(-1, 2, (40, 2)), axis=0) % 14
    pixels[tuple(steps.T)] = True
    lesion, *_ = measure_mask(pixels[None], spacing_mm=(1, *spacing))[0]
    numbers = measure_mask(pixels[None])[1][0]
    centres = np.argwhere(numbers == 1)
    points = np.concatenate([centres + each for each in ((0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5))]) * spacing
    distances = np.linalg.norm(points[:, None] - points, axis=-1)
    assert lesion.longest.mm == pytest.approx(distances.max())

    ends = np.array(lesion.longest.ends) * spacing
    along = (ends[1] - ends[0]) / lesion.longest.mm
    u, v = points @ along, points @ (-along[1], along[0])
    widest = 0.0
    for place in np.linspace(u.min(), u.max(), 400):  # where lines between any two points cross it
        left, right = u <= place, u >= place
        share = (place - u[left][:, None]) / np.maximum(u[right] - u[left][:, None], 1e-9)
        crossed = v[left][:, None] + np.clip(share, 0, 1) * (v[right] - v[left][:, None])
        widest = max(widest, float(np.ptp(crossed)))
    assert lesion.perpendicular.mm == pytest.approx(widest, abs=0.05)
    chord = np.diff(np.array(lesion.perpendicular.ends) * spacing, axis=0)[0]
    assert chord @ along == pytest.approx(0, abs=1e-9)
    assert np.linalg.norm(chord) == pytest.approx(lesion.perpendicular.mm)


def test_places_in_millimetres():
    np.testing.assert_allclose(to_mm(np.array([[0, 0, 0], [1, 2, 3]]), RAS), [[10, 20, -30], [4, 14, -25]])


def test_a_score_is_that_of_the_voxels_by_which_it_was_calibrated():
    """Log odds of 0.9 and 0.5 are ln 9 and 0: their mean makes 0.75; 0.1 takes as much as 0.9 gives."""
    prob_map = np.array([[[0.9, 0.5, 0.1]]], np.float32)
    mask = prob_map > 0
    known = {
        scored_from: measure_mask(mask, prob_map, scored_from=scored_from)[0][0]
        for scored_from in (0, 0.5, 1)
    }
    assert {key: each.score for key, each in known.items()} == pytest.approx({0: 0.5, 0.5: 0.75, 1: 0.5})
