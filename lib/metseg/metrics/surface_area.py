"""The Hausdorff distance of surfaces weighed by area, as the BraTS challenges have used it."""

from functools import cache
from itertools import combinations, product

import numpy as np
from scipy import ndimage

from metseg.metrics.overlap import checked_pair
from metseg.metrics.surface import checked_spacing, nearest_distances

_CORNERS = tuple(product((0, 1), repeat=3))  # of the cube between eight neighbouring voxel centres


def hd95_by_area(
    mask_ref: np.ndarray, mask_pred: np.ndarray, *, spacing: tuple[float, float, float]
) -> float:
    """Returns the 95th percentile Hausdorff distance over the surfaces' area.

    Eight neighbouring voxels of which some are inside and some are not hold an element of the surface. Its
    area is that of the marching cubes through the middles of the cube's edges, its place the middle of the
    cube. In each direction the distance to the nearest element of the other mask is taken that 95 % of the
    area does not exceed; the larger of the two is the result. Beyond the array's edge counts as background.

    Args:
        mask_ref, mask_pred: bool, (Z, H, W).
        spacing: Distance of neighbouring voxels along each axis, all > 0.

    Returns:
        The distance in the unit of `spacing`; 0 when both masks are empty, infinite when exactly one is.

    Raises:
        ValueError: `spacing` does not fit the masks.

    Reference:
        Nikolov et al. (2018), arXiv:1809.04430, "Surface DSC" and its program `surface-distance`
        (`compute_robust_hausdorff`); the cubes: Lorensen & Cline (1987), SIGGRAPH 21:163-169.
    """
    mask_ref, mask_pred = checked_pair(mask_ref, mask_pred)
    spacing = checked_spacing(spacing, 3)
    if not mask_ref.any() or not mask_pred.any():
        return 0.0 if mask_ref.any() == mask_pred.any() else float("inf")
    box = ndimage.find_objects((mask_ref | mask_pred).view(np.uint8))[0]
    cubes = [_cubes(mask[box]) for mask in (mask_ref, mask_pred)]
    surfaces = [(each > 0) & (each < 255) for each in cubes]
    found = []
    for own, (start, target) in zip(cubes, (surfaces, surfaces[::-1]), strict=True):
        distances, areas = nearest_distances(start, target, spacing), element_areas(spacing)[own[start]]
        order = np.lexsort((areas, distances))
        share = np.cumsum(areas[order]) / areas.sum()
        found.append(distances[order][min(np.searchsorted(share, 0.95), len(share) - 1)])
    return float(max(found))


@cache
def element_areas(spacing: tuple[float, float, float]) -> np.ndarray:
    """Returns (256,) the area of the surface in a cube; bit k of the index tells if `_CORNERS[k]` is inside.

    Corners that edges join are one piece; of a cube with more than four corners inside, the pieces are those
    outside.
    """
    areas = np.zeros(256)
    for code in range(256):
        inside = [corner for k, corner in enumerate(_CORNERS) if code >> k & 1]
        pieces = inside if len(inside) <= 4 else [each for each in _CORNERS if each not in inside]
        areas[code] = sum(_cap(piece, np.array(spacing)) for piece in _pieces(pieces))
    return areas


def _cubes(mask: np.ndarray) -> np.ndarray:
    """Returns which corners are inside, uint8, of all cubes that a voxel of the mask is a corner of."""
    padded = np.pad(mask, 1).view(np.uint8)
    codes = np.zeros([side + 1 for side in mask.shape], np.uint8)
    for k, corner in enumerate(_CORNERS):
        codes |= padded[tuple(slice(at, at + n) for at, n in zip(corner, codes.shape, strict=True))] << k
    return codes


def _axis(one: tuple, other: tuple) -> int | None:
    """Returns along which axis an edge of the cube joins two corners, if one does."""
    differ = [axis for axis in range(3) if one[axis] != other[axis]]
    return differ[0] if len(differ) == 1 else None


def _pieces(corners: list[tuple]) -> list[list[tuple]]:
    pieces = []
    for corner in corners:
        joined = [piece for piece in pieces if any(_axis(corner, other) is not None for other in piece)]
        pieces = [piece for piece in pieces if piece not in joined] + [[corner, *sum(joined, [])]]
    return pieces


def _cap(piece: list[tuple], spacing: np.ndarray) -> float:
    """Returns the area of the polygon that cuts a piece of one to four corners off the cube.

    Its corners are the middles of the edges that leave the piece. It is told as a sum of triangles, each by
    the lengths of its normal along the axes, which only a zigzag of four makes depend on how it is cut.
    """
    edges = [(a, b, _axis(a, b)) for a, b in combinations(piece, 2) if _axis(a, b) is not None]
    along = [axis for _, _, axis in edges]
    ends = [corner for a, b, _ in edges for corner in (a, b)]
    area_of = np.prod(spacing) / spacing  # of the voxel's faces, by the axis they are perpendicular to

    def area(*normal: float) -> float:
        return float(np.linalg.norm(normal * area_of))

    corner, axes = area(1 / 8, 1 / 8, 1 / 8), np.eye(3)
    most = max(map(ends.count, ends), default=0)
    if not edges:
        return corner  # a triangle
    if len(edges) == 1:
        return 2 * area(*(1 - axes[along[0]]) / 4)  # a rectangle
    if len(edges) == 2:
        return area(*axes[3 - sum(along)] / 2) + 3 * corner  # a pentagon
    if len(edges) == 4:
        return area(*axes[3 - sum({*along})])  # the cube's own face
    if most == 3:
        return 6 * corner  # a plane hexagon
    middle = next(axis for a, b, axis in edges if ends.count(a) == ends.count(b) == 2)
    return 4 * corner + sum(area(*(axes[middle] + axes[other]) / 4) for other in {0, 1, 2} - {middle})
