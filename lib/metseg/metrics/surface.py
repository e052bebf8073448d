"""How far the surfaces of two masks lie apart."""

import numpy as np
from scipy import ndimage, spatial

from metseg.metrics.overlap import checked_pair


def hd95(mask_ref: np.ndarray, mask_pred: np.ndarray, *, spacing: tuple[float, ...]) -> float:
    """Returns the 95th percentile symmetric Hausdorff distance between the two surfaces.

    The surface of a mask is its voxels with a background neighbour across a face; beyond the array's edge
    counts as background. Every surface voxel's centre gets its distance to the nearest surface voxel of the
    other mask; of each direction the 95th percentile (linear interpolation) is taken, and the larger of the
    two is the result. A lesion with less than 5 % of the surface can hide behind it, found or missed: read
    the number beside the counts of lesions.

    Args:
        mask_ref, mask_pred: bool, (H, W) or (Z, H, W).
        spacing: distance of neighbouring voxels along each axis of the masks, all > 0; ones give voxels.

    Returns:
        The distance in the unit of `spacing`; 0 when both masks are empty, infinite when exactly one is: any
        other value could make a miss better than a poor contour.

    Raises:
        ValueError: `spacing` does not fit the masks.

    Reference:
        Maier-Hein, Reinke et al. (2024), Metrics Reloaded, Nat. Methods 21:195-212 (HD95: maximum of the two
        directed 95th percentiles).
    """
    mask_ref, mask_pred = checked_pair(mask_ref, mask_pred)
    spacing = checked_spacing(spacing, mask_ref.ndim)
    if not mask_ref.any() or not mask_pred.any():
        return 0.0 if mask_ref.any() == mask_pred.any() else float("inf")
    return float(max(np.percentile(each, 95) for each in surface_distances(mask_ref, mask_pred, spacing)))


def surface_distances(
    mask_ref: np.ndarray, mask_pred: np.ndarray, spacing: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns how far each surface voxel of one mask is from the surface of the other, and the reverse.

    Args:
        mask_ref, mask_pred: bool, of one shape, neither empty; the surface is that of `hd95`.
        spacing: distance of neighbouring voxels along each axis.

    Returns:
        (surface voxels of the reference,) and (surface voxels of the prediction,) float64.
    """
    box = ndimage.find_objects((mask_ref | mask_pred).astype(np.uint8))[0]
    ref, pred = (mask[box] & ~ndimage.binary_erosion(mask[box]) for mask in (mask_ref, mask_pred))
    return nearest_distances(ref, pred, spacing), nearest_distances(pred, ref, spacing)


def checked_spacing(spacing: tuple[float, ...], ndim: int) -> tuple[float, ...]:
    """Returns the spacing as floats; raises a `ValueError` unless it is one length > 0 for each axis."""
    if spacing is None or len(spacing) != ndim or not all(0 < step < np.inf for step in spacing):
        raise ValueError(
            f"spacing is {spacing}, the masks have {ndim} axes; pass one positive length per axis"
        )
    return tuple(map(float, spacing))


def nearest_distances(start: np.ndarray, target: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Returns the distance from each voxel of `start` to the nearest of `target`, both bool and not empty."""
    # a tree's time follows the surfaces, a distance map's the box, which one stray voxel blows up;
    # a noisy mask is nearly all surface, and there the map is ten times faster
    if 20 * (np.count_nonzero(start) + np.count_nonzero(target)) > start.size:
        return ndimage.distance_transform_edt(~target, sampling=spacing)[start]
    apart = ~target[start]  # the others lie on the target
    distances = np.zeros(len(apart))
    if apart.any():
        tree = spatial.KDTree(np.argwhere(target) * np.asarray(spacing, dtype=float))
        distances[apart] = tree.query(np.argwhere(start & ~target) * np.asarray(spacing, dtype=float))[0]
    return distances
