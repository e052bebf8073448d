"""Where a voxel lies: axis orders, grids that are the same, grids that are not.

Voxels are counted (x, y, z) by an affine and (z, y, x) by an array. Patient coordinates are mm in RAS+: to
the right, to the front, to the head.
"""

from itertools import permutations, product

import numpy as np

from metseg.base.errors import MetsegError
from metseg.data.volume import Volume

SAME_VOXEL = 0.1  # grids whose corners lie nearer than this, in voxels, are one: programs round their affines
_LPS = np.array([-1, -1, 1])  # the axial display: x to the patient's left, y to the back, z to the head


def voxel_to_mm(indices: np.ndarray, volume: Volume) -> np.ndarray:
    """Returns the (N, 3) mm (x, y, z) in RAS+ of (N, 3) voxel indices (z, y, x), whole or not."""
    affine = _affine_of(volume)
    return np.asarray(indices, float)[..., ::-1] @ affine[:3, :3].T + affine[:3, 3]


def mm_to_voxel(points_mm: np.ndarray, volume: Volume) -> np.ndarray:
    """Returns the (N, 3) voxel indices (z, y, x), not rounded, of (N, 3) mm (x, y, z) in RAS+."""
    inverse = np.linalg.inv(_affine_of(volume))
    return (np.asarray(points_mm, float) @ inverse[:3, :3].T + inverse[:3, 3])[..., ::-1]


def axial_order(volume: Volume) -> np.ndarray:
    """Returns the reordering (see `reorder`) that brings a volume's array nearest to the axial display.

    Of the 48 axis orders it is the one whose axes make the smallest angles with the patient's. Where the
    files do not tell the orientation nothing is reordered.
    """
    if volume.affine is None:
        return np.eye(4, dtype=int)
    cosines = np.round(_directions(volume.affine) * _LPS[:, None], 6)  # so that rounding decides no tie
    axes = max(permutations(range(3)), key=lambda axes: np.abs(cosines[range(3), axes]).sum())
    order = np.zeros((4, 4), int)
    for new, old in enumerate(axes):
        backwards = cosines[new, old] < 0
        order[old, new] = -1 if backwards else 1
        order[old, 3] = volume.grid[2 - old] - 1 if backwards else 0
    order[3, 3] = 1
    return order


def reorder(array: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Permutes and flips the last three axes (z, y, x) of an array; no voxel's value changes.

    Args:
        array: (…, Z, Y, X).
        order: (4, 4), from a voxel (x, y, z, 1) of the result to that of `array`.
    """
    old_axes = np.abs(order[:3, :3]).argmax(axis=0)  # of each axis x, y, z of the result
    flips = tuple(slice(None, None, order[old, new]) for new, old in enumerate(old_axes))
    leading = array.ndim - 3
    turned = array.transpose(*range(leading), *(leading + 2 - old_axes[::-1]))
    return np.ascontiguousarray(turned[(..., *flips[::-1])])


def to_axial(volume: Volume) -> Volume:
    """Returns a volume as an axial display shows it, with its affine: permuted and flipped, not interpolated.

    The array is (C, Z from below to the head, Y from the front to the back, X from the patient's right to the
    left). A volume of unknown orientation is returned as it is.
    """
    order = axial_order(volume)
    if volume.affine is None:
        return volume
    return Volume(reorder(volume.array, order), volume.channels, affine=volume.affine @ order)


def axial_grid(volume: Volume) -> tuple[int, int, int]:
    """Returns the (Z, Y, X) of `to_axial(volume)`."""
    old_axes = np.abs(axial_order(volume)[:3, :3]).argmax(axis=0)  # of each axis x, y, z of the result
    return tuple(volume.grid[2 - old] for old in old_axes[::-1])


def from_axial(array: np.ndarray, volume: Volume) -> np.ndarray:
    """Brings a mask or a map (…, Z, Y, X) on the grid of `to_axial(volume)` back to the volume's own grid."""
    return reorder(array, np.rint(np.linalg.inv(axial_order(volume))).astype(int))


def order_between(source: Volume, target: Volume, tolerance: float = SAME_VOXEL) -> np.ndarray | None:
    """Returns the reordering of `source`'s array to `target`'s grid; None where that would take more.

    Args:
        source: The volume to reorder.
        target: The volume whose grid is wanted.
        tolerance: By how many voxels the places may differ anywhere.
    """
    if source.affine is None or target.affine is None:
        same = source.affine is target.affine and source.grid == target.grid
        if same and source.spacing_mm and target.spacing_mm:  # of one grid the far ends lie together
            ends = np.array([source.spacing_mm, target.spacing_mm]) * (np.array(source.grid) - 1)
            same = bool((np.abs(ends[0] - ends[1]) <= tolerance * np.array(target.spacing_mm)).all())
        return np.eye(4, dtype=int) if same else None
    exact = np.linalg.inv(source.affine) @ target.affine
    order = np.rint(exact).astype(int)
    axes = np.abs(order[:3, :3])
    if not ((axes.sum(0) == 1).all() and (axes.sum(1) == 1).all()):
        return None
    corners = grid_corners(target.grid)
    # The corners of one grid are those of the other, else one is a part of the other or beside it.
    mapped = {tuple(corner[:3]) for corner in (corners @ order.T).astype(int)}
    if mapped != {tuple(corner[:3]) for corner in grid_corners(source.grid).astype(int)}:
        return None
    return order if np.abs(corners @ (exact - order).T).max() <= tolerance else None


def same_grid(one: Volume, other: Volume, tolerance: float = SAME_VOXEL) -> bool:
    """Tells whether two volumes' voxels are the same places in the same order, within `tolerance` voxels."""
    order = order_between(one, other, tolerance)
    return order is not None and one.grid == other.grid and (order == np.eye(4)).all()


def resample_like(volume: Volume, reference: Volume, *, labels: bool = False) -> Volume:
    """Brings a volume to another one's grid; what lies outside has the lowest value, as air has; labels 0.

    Args:
        volume: What to bring. If the grids differ in axis order only, it is reordered and keeps its values.
        reference: Whose grid to take.
        labels: Take the nearest voxel and keep the dtype, else interpolate linearly, in float32.

    Raises:
        MetsegError: One of the two has no orientation, and they are not the same grid.
    """
    order = order_between(volume, reference)
    if order is not None:
        known = {"affine": reference.affine, "spacing_mm": reference.spacing_mm}
        return Volume(reorder(volume.array, order), volume.channels, **known)
    from scipy.ndimage import affine_transform

    across = np.linalg.inv(_affine_of(volume)) @ _affine_of(reference)
    placed = [
        affine_transform(
            channel if labels else channel.astype(np.float32),
            across[2::-1, 2::-1],  # arrays are (z, y, x)
            across[2::-1, 3],
            output_shape=reference.grid,
            order=0 if labels else 1,
            mode="grid-constant",  # "constant" drops the outermost slices by a rounding of 1e-15
            cval=0 if labels else _lowest(channel),  # 0 is as bright as the mean where values were z-scored
        )
        for channel in volume.array
    ]
    return Volume(np.stack(placed), volume.channels, affine=reference.affine)


def _lowest(channel: np.ndarray) -> float:
    finite = channel[np.isfinite(channel)]
    return float(finite.min()) if finite.size else 0.0


def share_within(reference: Volume, volume: Volume) -> float:
    """Returns which share of a grid lies within another one, of up to 32 places along each axis."""
    axes = [np.linspace(0, size - 1, min(size, 32)) for size in reference.grid]
    places = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    there = mm_to_voxel(voxel_to_mm(places, reference), volume)
    return float(((there > -0.5) & (there < np.array(volume.grid) - 0.5)).all(axis=1).mean())


def obliqueness(volume: Volume) -> float:
    """Returns the largest angle between a voxel axis and the patient's axis nearest to it, in degrees."""
    nearest = np.abs(_directions(_affine_of(volume))).max(axis=0)
    return float(np.degrees(np.arccos(np.clip(nearest, 0, 1))).max())


def largest_shear_cosine(affine: np.ndarray) -> float:
    """Returns the largest |cos| between two axes of the voxels: 0 where they are perpendicular."""
    directions = _directions(affine)
    return float(np.abs(directions.T @ directions - np.eye(3)).max())


def grid_corners(grid: tuple[int, int, int]) -> np.ndarray:
    """Returns the (8, 4) corner voxels (x, y, z, 1) of a (Z, Y, X) grid."""
    return np.array([(*corner, 1) for corner in product(*((0, size - 1) for size in grid[::-1]))], float)


def _directions(affine: np.ndarray) -> np.ndarray:
    """Returns the unit vectors of the voxels' axes x, y, z as columns."""
    return affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)


def _affine_of(volume: Volume) -> np.ndarray:
    if volume.affine is None:
        raise MetsegError(
            "the scan's orientation is unknown, so that no place in mm can be given; export it with its "
            "orientation (NIfTI sform or qform, or the DICOM series itself)"
        )
    return volume.affine
