"""The lesions of a volume: size, diameters as calipers take them, place and probability."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metseg.masks.components import label_lesions, lesion_score

Point = tuple[float, float]


@dataclass(frozen=True)
class Diameter:
    """A distance across a lesion within one axial slice.

    Attributes:
        mm: Its length; None where the voxels' size is unknown.
        px: The distance of its ends in pixels, as if they were square.
        ends: Both ends, (row, column), in pixels from the centre of the slice's first pixel.
    """

    mm: float | None
    px: float
    ends: tuple[Point, Point]


@dataclass(frozen=True)
class MeasuredLesion:
    """One lesion of a volume: voxels that touch, edges and corners included (26-connected).

    Attributes:
        number: 1 is the largest by volume; of equals, the one that comes first slice by slice.
        voxels: How many.
        volume_mm3: None where the voxels' size is unknown.
        box: (first, one past the last) of slices, rows and columns.
        axial_slice: The slice in which it is longest; the first of equals.
        longest: The longest distance between two points of its outline in that slice.
        perpendicular: The longest one in that slice that is perpendicular to it.
        centroid: (z, y, x), in voxels from the centre of the first voxel.
        centroid_mm: The same in patient coordinates, mm to the right, anterior and superior (RAS+); or None.
        mean_probability, max_probability: Over its voxels; None without a map.
        score: Its `lesion_score`, by its voxels from `scored_from` on if there are any; None likewise.
    """

    number: int
    voxels: int
    volume_mm3: float | None
    box: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    axial_slice: int
    longest: Diameter
    perpendicular: Diameter
    centroid: tuple[float, float, float]
    centroid_mm: tuple[float, float, float] | None
    mean_probability: float | None
    max_probability: float | None
    score: float | None

    @property
    def slice_count(self) -> int:
        """How many slices show it; its slices follow each other, as its voxels touch."""
        return self.box[0][1] - self.box[0][0]


def measure_mask(
    mask: np.ndarray,
    prob_map: np.ndarray | None = None,
    *,
    affine: np.ndarray | None = None,
    spacing_mm: Sequence[float] | None = None,
    scored_from: float = 0,
) -> tuple[list[MeasuredLesion], np.ndarray]:
    """Measures the lesions of a volume on an axial grid.

    Diameters are what calipers take of a lesion's convex hull, between points of the outline halfway between
    its pixels and their neighbours: n pixels in a row are n pixels long, a disk of 10 pixels measures 10.6 by
    10.3 on average. Between centres one pixel would have no length; between corners that disk has 11.1.

    Args:
        mask: (Z, Y, X) bool; each `mask[z]` is an axial slice.
        prob_map: (Z, Y, X) float in [0, 1], or None.
        affine: (4, 4), voxel (x, y, z, 1) → mm in RAS+; None where unknown.
        spacing_mm: Voxel size (z, y, x), where there is no affine; None where unknown.
        scored_from: The probability from which the network's calibration takes a lesion's voxels.

    Returns:
        The lesions, largest first, and (Z, Y, X) int32: 0 outside, else the number of the lesion.

    Raises:
        ValueError: Mask and map are not of one (Z, Y, X) shape.
    """
    if mask.ndim != 3 or (prob_map is not None and prob_map.shape != mask.shape):
        shape = None if prob_map is None else prob_map.shape
        raise ValueError(f"mask is {mask.shape}, prob_map {shape}; give both of one (Z, Y, X)")
    axes = _axes(affine, spacing_mm)
    # In the plane's own two coordinates; a sheared grid's rows and columns are not perpendicular.
    plane = None if axes is None else np.linalg.qr(axes[:, :2])[1]
    labels, boxes, order = _numbered(mask)
    lesions = []
    for number, box in enumerate(boxes, 1):
        inside = labels[box] == number
        start = np.array([each.start for each in box])
        centroid = np.mean(np.nonzero(inside), axis=1) + start
        z, longest, perpendicular = _diameters(inside, start, plane)
        probabilities = None if prob_map is None else prob_map[box][inside].astype(np.float64)
        voxels = int(order[number - 1])
        lesions.append(
            MeasuredLesion(
                number=number,
                voxels=voxels,
                volume_mm3=None if axes is None else voxels * abs(float(np.linalg.det(axes))),
                box=tuple((each.start, each.stop) for each in box),
                axial_slice=z,
                longest=longest,
                perpendicular=perpendicular,
                centroid=tuple(centroid.tolist()),
                centroid_mm=None if affine is None else tuple(to_mm(centroid, affine).tolist()),
                mean_probability=None if probabilities is None else float(probabilities.mean()),
                max_probability=None if probabilities is None else float(probabilities.max()),
                score=None if probabilities is None else _score(probabilities, scored_from),
            )
        )
    return lesions, labels


def _score(probabilities: np.ndarray, scored_from: float) -> float:
    sure = probabilities >= scored_from
    return lesion_score(probabilities[sure] if sure.any() else probabilities)


def to_mm(voxels: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Returns where (…, 3) voxels (z, y, x) lie, (…, 3) mm in the affine's coordinates (x, y, z)."""
    affine = np.asarray(affine, float)
    return np.asarray(voxels, float)[..., ::-1] @ affine[:3, :3].T + affine[:3, 3]


def _axes(affine: np.ndarray | None, spacing_mm: Sequence[float] | None) -> np.ndarray | None:
    """Returns (3, 3): in its columns the step from a voxel to the next along x, y and z, mm."""
    if affine is not None:
        return np.asarray(affine, float)[:3, :3]
    return None if spacing_mm is None else np.diag(np.asarray(spacing_mm, float)[::-1])


def _numbered(mask: np.ndarray) -> tuple[np.ndarray, list[tuple[slice, ...]], np.ndarray]:
    """Returns the labels, largest lesion first, with each one's box and number of voxels."""
    from scipy import ndimage  # here, for a slice alone does without it

    labels = np.zeros(mask.shape, np.int32)
    if not mask.any():
        return labels, [], np.zeros(0, int)
    whole = tuple(
        slice(hit[0], hit[-1] + 1)
        for axis in range(3)
        for hit in [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))]
    )
    found = label_lesions(mask[whole])
    counts = np.bincount(found.ravel())[1:]
    order = np.argsort(-counts, kind="stable")
    rank = np.zeros(len(counts) + 1, np.int32)
    rank[order + 1] = np.arange(1, len(counts) + 1)
    labels[whole] = rank[found]
    return labels, ndimage.find_objects(labels), counts[order]


def _diameters(
    inside: np.ndarray, start: np.ndarray, plane: np.ndarray | None
) -> tuple[int, Diameter, Diameter]:
    """Returns the slice in which a lesion is longest, its longest diameter and the one perpendicular to it.

    Args:
        inside: (Z, Y, X) bool, the lesion in its box.
        start: (3,) where the box begins.
        plane: (2, 2) from (x, y) in pixels to mm within the slice; None takes pixels as square.
    """
    to_plane = np.eye(2) if plane is None else plane
    best, slice_index, hull = 0.0, 0, np.zeros((0, 2))
    for z, pixels in enumerate(inside):
        points = _outline(pixels)
        placed = points @ to_plane.T
        if np.linalg.norm(np.ptp(placed, axis=0)) <= best:  # of its box: no need to look closer
            continue
        points = _convex(points)
        placed = points @ to_plane.T
        longest = np.linalg.norm(placed[:, None] - placed, axis=-1).max()
        if longest > best + 1e-9:
            best, slice_index, hull = float(longest), z, points

    placed = hull @ to_plane.T
    distances = np.linalg.norm(placed[:, None] - placed, axis=-1)
    first, last = np.unravel_index(distances.argmax(), distances.shape)
    along = (placed[last] - placed[first]) / distances.max()
    across = _widest_chord(placed, along)
    back = np.linalg.inv(to_plane).T

    def diameter(ends: np.ndarray) -> Diameter:
        pixels = ends @ back + start[:0:-1]
        mm = None if plane is None else float(np.linalg.norm(ends[1] - ends[0]))
        shown = tuple((float(y), float(x)) for x, y in pixels)
        return Diameter(mm, float(np.linalg.norm(pixels[1] - pixels[0])), shown)

    return int(start[0]) + slice_index, diameter(placed[[first, last]]), diameter(across)


def _outline(pixels: np.ndarray) -> np.ndarray:
    """Returns (n, 2) points (x, y) halfway to the neighbour outside, at both ends of each row and column."""
    found = []
    for lines in (pixels, pixels.T):
        filled = np.flatnonzero(lines.any(axis=1))
        low = lines[filled].argmax(axis=1) - 0.5
        high = lines.shape[1] - 0.5 - lines[filled, ::-1].argmax(axis=1)
        ends = np.concatenate([np.stack([low, filled], 1), np.stack([high, filled], 1)])
        found.append(ends if lines is pixels else ends[:, ::-1])
    return np.concatenate(found)


def _convex(points: np.ndarray) -> np.ndarray:
    from scipy.spatial import ConvexHull

    return points[ConvexHull(points).vertices]


def _widest_chord(hull: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Returns (2, 2): both ends of the longest chord of a convex polygon that is perpendicular to `along`.

    The chord's length is concave and linear between corners, so that the longest one begins at a corner.
    """
    normal = np.array([-along[1], along[0]])
    u, v = hull @ along, hull @ normal
    first, last = u.argmin(), u.argmax()
    around = np.roll(np.arange(len(u)), -first)
    turn = int(np.flatnonzero(around == last)[0])
    sides = around[: turn + 1], np.append(around[turn:], first)[::-1]
    one, other = (np.interp(u, u[side], v[side]) for side in sides)
    widest = np.abs(one - other).argmax()
    return np.array([u[widest] * along + height[widest] * normal for height in (one, other)])
