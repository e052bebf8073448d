import numpy as np
import pytest

from metseg.masks.outline import filled, outlines


def area(polygons):
    total = 0.0
    for polygon in polygons:
        x, y = polygon.T
        total += (x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
    return total


def test_a_pixel_has_four_corners():
    mask = np.zeros((3, 4), bool)
    mask[1, 2] = True
    (polygon,) = outlines(mask)
    assert {tuple(corner) for corner in polygon} == {(1.5, 0.5), (2.5, 0.5), (2.5, 1.5), (1.5, 1.5)}


def test_pixels_that_touch_at_a_corner_are_two_parts():
    assert [len(polygon) for polygon in outlines(np.eye(2, dtype=bool))] == [4, 4]


def test_a_hole_is_joined_by_a_keyhole():
    ring = np.ones((3, 3), bool)
    ring[1, 1] = False
    polygons = outlines(ring)
    assert len(polygons) == 1
    assert area(polygons) == 8
    np.testing.assert_array_equal(filled(polygons, ring.shape), ring)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_area_and_pixels_are_the_masks(share):
    rng = np.random.default_rng(0)
    for _ in range(60):
        mask = rng.random(rng.integers(1, 15, 2)) < share
        polygons = outlines(mask)
        assert area(polygons) == np.count_nonzero(mask)
        np.testing.assert_array_equal(filled(polygons, mask.shape), mask)


def test_nothing_has_no_outline():
    assert outlines(np.zeros((3, 3), bool)) == []
