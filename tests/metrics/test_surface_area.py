"""Areas of drawn bodies, and distances over them, worked out by hand."""

import itertools
import math

import numpy as np
import pytest

from metseg.metrics.surface_area import element_areas, hd95_by_area


def points(shape: tuple[int, ...], *where: tuple[int, ...]) -> np.ndarray:
    result = np.zeros(shape, dtype=bool)
    for index in where:
        result[index] = True
    return result


def area(*corners: tuple[int, int, int], spacing=(1.0, 1.0, 1.0)) -> float:
    """Area within the cube between eight voxels, of which these are inside."""
    places = list(itertools.product((0, 1), repeat=3))
    return element_areas(spacing)[sum(1 << places.index(corner) for corner in corners)]


def heron(*points_mm) -> float:
    a, b, c = map(np.array, points_mm)
    return float(np.linalg.norm(np.cross(b - a, c - a))) / 2


def test_areas_by_hand():
    assert area() == 0
    assert area((0, 0, 0)) == pytest.approx(math.sqrt(3) / 8)  # equilateral, sides of half a diagonal
    assert area((0, 0, 0), (0, 0, 1)) == pytest.approx(math.sqrt(0.5))  # 1 by half a diagonal
    assert area((0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1)) == pytest.approx(1)
    assert area((0, 0, 0), (0, 1, 1)) == pytest.approx(2 * math.sqrt(3) / 8)  # diagonal: two corners
    hexagon = area((0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0))
    assert hexagon == pytest.approx(1.5 * math.sqrt(3) / 2)  # regular, sides of half a diagonal


def test_areas_follow_the_spacing():
    spacing = (2.0, 3.0, 5.0)  # z, y, x
    z, y, x = (np.eye(3)[axis] * spacing[axis] / 2 for axis in range(3))
    assert area((0, 0, 0), spacing=spacing) == pytest.approx(heron(z, y, x))
    edge = area((0, 0, 0), (1, 0, 0), spacing=spacing)
    assert edge == pytest.approx(2 * math.hypot(1.5, 2.5))
    assert area(*itertools.product((0, 1), (0, 1), (0,)), spacing=spacing) == pytest.approx(2 * 3)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 3.0, 5.0)])
def test_area_of_a_zigzag(spacing):
    # Four corners in a row along z, y and x: a bent hexagon between the middles of the six edges that leave.
    middles = [(0, 1, 0), (0, 0, 1), (2, 0, 1), (2, 1, 2), (1, 2, 2), (1, 2, 0)]
    a, b, c, d, e, f = np.array(middles) / 2 * spacing
    expected = heron(e, f, a) + heron(b, c, d) + heron(a, b, d) + heron(a, d, e)
    found = area((0, 0, 0), (1, 0, 0), (1, 1, 0), (1, 1, 1), spacing=spacing)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 3.0, 5.0)])
def test_areas_are_the_same_from_within_and_in_a_mirror(spacing):
    areas = element_areas(spacing)
    assert areas == pytest.approx(areas[::-1])
    places = list(itertools.product((0, 1), repeat=3))
    for code, axis in itertools.product(range(256), range(3)):
        inside = [list(places[k]) for k in range(8) if code >> k & 1]
        for corner in inside:
            corner[axis] ^= 1
        assert area(*map(tuple, inside), spacing=spacing) == pytest.approx(areas[code])


def test_empty_and_equal():
    nothing, one = points((3, 3, 3)), points((3, 3, 3), (1, 1, 1))
    assert hd95_by_area(nothing, nothing, spacing=(1, 1, 1)) == 0
    assert (
        hd95_by_area(one, nothing, spacing=(1, 1, 1))
        == math.inf
        == hd95_by_area(nothing, one, spacing=(1,) * 3)
    )
    assert hd95_by_area(one, one, spacing=(1, 1, 1)) == 0


def test_distances_by_hand():
    # One voxel and another 3 along z: of the eight cubes at each, four lie 2 from the nearest, four 3.
    one, up = points((6, 3, 3), (1, 1, 1)), points((6, 3, 3), (4, 1, 1))
    assert hd95_by_area(one, up, spacing=(5, 1, 1)) == pytest.approx(15)
    # At the array's edge the surface goes on outside.
    assert hd95_by_area(points((4, 1, 1), (0, 0, 0)), points((4, 1, 1), (3, 0, 0)), spacing=(1, 1, 1)) == 3


def test_a_small_part_of_the_area_hides():
    # A body of 12³ voxels and a stray voxel far away, of less than 5 % of the area.
    body = np.zeros((14, 14, 60), bool)
    body[1:13, 1:13, 1:13] = True
    assert hd95_by_area(body, body | points(body.shape, (5, 5, 50)), spacing=(1, 1, 1)) == 0


def test_refuses_spacing():
    with pytest.raises(ValueError, match="one positive length per axis"):
        hd95_by_area(points((2, 2, 2)), points((2, 2, 2)), spacing=(1.0, 0.0, 1.0))
