"""How far lesions stand out from the tissue around them."""

import cv2
import numpy as np

from metseg.masks.head import head_region

_RING_PX = (2, 9)  # from a lesion's edge, which is drawn by hand; the outer edge of the ring
_DARK = 1 / 3  # of the head's median: air and bone


def standardised_contrast(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Returns by how many standard deviations a scan's lesions stand out in each channel.

    It is the mean grey value of all lesions less that of the tissue around them, over the root of the mean of
    both variances, which are of anatomy more than of noise. Around are, slice by slice, the pixels of the
    head, but air and bone, that lie 2 to 9 px from the nearest lesion.

    Args:
        image: (Z, H, W, C) uint8.
        mask: (Z, H, W) bool, the lesions.

    Returns:
        (C,) float64; nan where there is no lesion, no tissue around it, or neither varies.

    Reference:
        Cohen 1988, Statistical Power Analysis for the Behavioral Sciences, chapter 2 (d, of unequal
        variances).
    """
    around = np.zeros_like(mask)
    for z in np.flatnonzero(mask.any(axis=(1, 2))):
        distance = cv2.distanceTransform((~mask[z]).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        grey = image[z].mean(axis=-1, dtype=np.float32)
        head = head_region(grey)
        head &= grey > _DARK * np.median(grey[head]) if head.any() else False
        around[z] = head & (distance > _RING_PX[0]) & (distance <= _RING_PX[1])
    lesion, tissue = image[mask].astype(float), image[around].astype(float)
    if not len(lesion) or not len(tissue):
        return np.full(image.shape[-1], np.nan)
    spread = np.sqrt((lesion.var(axis=0) + tissue.var(axis=0)) / 2)
    difference = lesion.mean(axis=0) - tissue.mean(axis=0)
    return np.divide(difference, spread, out=np.full(len(spread), np.nan), where=spread > 0)
