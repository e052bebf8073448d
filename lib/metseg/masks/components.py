"""What one lesion is, a connected component, diagonal neighbours included; and where most lesion lies."""

import cv2
import numpy as np


def label_lesions(mask: np.ndarray) -> np.ndarray:
    """Numbers the lesions of an (H, W) or (Z, H, W) bool mask: int32, 0 outside, 1…n inside."""
    from scipy import ndimage  # here, for a slice alone does without it

    return ndimage.label(mask, structure=np.ones((3,) * mask.ndim))[0]


def lesion_probabilities(prob_map: np.ndarray, *, threshold: float) -> np.ndarray:
    """Returns a map in which each predicted lesion has its mean probability, and 0 stands outside.

    The mean tells lesions from what is none better than the highest probability: networks are so sure that
    the highest is near 1 in nearly all.

    Args:
        prob_map: float, (H, W) or (Z, H, W).
        threshold: A voxel is lesion from it on; the lesions are the components of that.
    """
    numbers = label_lesions(prob_map >= threshold)
    inside = numbers > 0
    of = numbers[inside]
    sums = np.bincount(of, prob_map[inside], minlength=numbers.max() + 1)
    means = sums / np.maximum(np.bincount(of, minlength=len(sums)), 1)
    return means.astype(prob_map.dtype)[numbers]


def number_lesions(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers the lesions of an (H, W) bool mask and counts their pixels, by OpenCV alone.

    Returns:
        (H, W) int32 with 0 outside and 1…n inside lesions, and (n + 1,) the pixels of each number.
    """
    n, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return labels, stats[:n, cv2.CC_STAT_AREA]


def fullest_slice(mask: np.ndarray) -> int:
    """Returns the index of the slice of a (Z, H, W) mask that holds most lesion."""
    return int(mask.sum(axis=(1, 2)).argmax())
