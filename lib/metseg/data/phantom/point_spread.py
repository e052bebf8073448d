"""How blurred and how noisy a scan is, told from the scan itself."""

import numpy as np
from scipy import ndimage


def point_spread(image: np.ndarray, brain: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    """Returns the blur along z, y, x in voxels, as the standard deviation of a Gaussian.

    It is 0.5 along the sharpest axis and is told of the others by how faint their edges are, as they are
    where thick slices were resampled to thin ones. By how much a Gaussian fades edges is measured along the
    sharpest axis. Axes of coarser voxels than the finest ones have other edges anyway; theirs is 0.5.

    Args:
        image: (Z, Y, X).
        brain: (Z, Y, X) bool.
        spacing_mm: (3,) z, y, x.
    """
    middle = np.rint(ndimage.center_of_mass(brain)).astype(int)
    cut = tuple(slice(max(m - 40, 0), m + 40) for m in middle)
    part, inside = image[cut].astype(np.float32), brain[cut]

    def edges(pixels: np.ndarray, axis: int) -> float:
        within = np.diff(inside.astype(np.int8), axis=axis) == 0
        within &= inside.take(range(1, inside.shape[axis]), axis)
        return float(np.sqrt(np.mean(np.diff(pixels, axis=axis)[within] ** 2))) if within.any() else 0.0

    alike = spacing_mm < 1.2 * min(spacing_mm)
    strength = np.array([edges(part, axis) if alike[axis] else 0.0 for axis in range(3)])
    sharpest = int(strength.argmax())
    if strength[sharpest] == 0:
        return np.full(3, 0.5)
    sigmas = (0, 0.5, 1, 1.5, 2, 3)
    faded = [edges(ndimage.gaussian_filter1d(part, sigma, axis=sharpest), sharpest) for sigma in sigmas[1:]]
    more = np.interp(-strength, -np.array([strength[sharpest], *faded]), sigmas)
    return np.hypot(0.5, np.where(alike, more, 0))


def noise_level(image: np.ndarray, even: np.ndarray) -> float:
    """Returns the standard deviation of what is left of even tissue after smoothing, robust to outliers."""
    rest = image - ndimage.gaussian_filter(image.astype(np.float32), 1.5)
    return float(1.4826 * np.median(np.abs(rest[even])))
