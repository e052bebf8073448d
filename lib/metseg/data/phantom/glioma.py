"""A drawn lower-grade glioma: one large lesion, bright in FLAIR, dark in T1, that takes up no contrast agent.

It is for showing networks that were trained on gliomas something they know; no data set is made of it.
"""

import numpy as np

from metseg.data.phantom.anatomy import make_anatomy, smooth_noise
from metseg.data.phantom.draw import SLICE_MM, acquire

_TUMOUR = (0.44, 0.86, 0.46)  # (T1, FLAIR, post-contrast T1)
_CORE = (0.30, 0.72, 0.33)


def draw_glioma(
    index: int,
    *,
    centre_mm: tuple[float, float, float],
    radii_mm: tuple[float, float, float],
    size: int = 160,
    slices: int = 16,
    pixel_mm: float = 1.25,
) -> tuple[np.ndarray, np.ndarray]:
    """Draws the head of one patient with a glioma in the place of metastases; arguments as `draw_phantom`.

    Args:
        centre_mm: Of the lesion, in the head's frame: x from left to right, y to the front, z to the vertex.
        radii_mm: Of the ellipsoid that it is before its surface is roughened.

    Returns:
        (Z, H, W, 3) uint8 image as the phantom's, and (Z, H, W) bool mask of what is bright in FLAIR.
    """
    rng = np.random.default_rng([index, 1])  # not the numbers that a phantom of metastases is drawn with
    anatomy = make_anatomy(rng, size, slices, pixel_mm, SLICE_MM)
    scaled = np.linalg.norm((anatomy.points_mm - np.float32(centre_mm)) / np.float32(radii_mm), axis=-1)
    within = (1 - scaled) * np.float32(min(radii_mm))
    within += 3.0 * smooth_noise(rng, anatomy.points_mm, 16) + 0.8 * smooth_noise(rng, anatomy.points_mm, 6)
    # It fills white matter, takes the cortex in, and stops at the skull and the ventricles.
    within = np.minimum.reduce([within, anatomy.depth_mm - 1.0, anatomy.ventricle_mm - 0.5])
    anatomy.paint(within / 2, _TUMOUR, opacity=0.92)  # its edge is soft
    mottled = within - 6 + 3.0 * smooth_noise(rng, anatomy.points_mm, 12)
    anatomy.paint(mottled / 3, _CORE, opacity=0.7)
    return acquire(rng, anatomy.signal, anatomy.points_mm), within > 0
