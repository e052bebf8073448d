"""What one lesion is, a connected component, diagonal neighbours included; and where most lesion lies."""

import cv2
import numpy as np

_LIKELY = 1e-4  # nearer to 0 or 1 probabilities tell no more


def label_lesions(mask: np.ndarray) -> np.ndarray:
    """Numbers the lesions of an (H, W) or (Z, H, W) bool mask: int32, 0 outside, 1…n inside."""
    from scipy import ndimage  # here, for a slice alone does without it

    return ndimage.label(mask, structure=np.ones((3,) * mask.ndim))[0]


def lesion_probabilities(prob_map: np.ndarray, *, threshold: float) -> np.ndarray:
    """Returns a map in which each predicted lesion has its score, and 0 stands outside.

    The score is the probability whose log odds are the mean of those of its voxels. It tells lesions from
    what is none better than their highest probability: networks are so sure that this is near 1 in most.

    Args:
        prob_map: float, (H, W) or (Z, H, W).
        threshold: A voxel is lesion from it on; the lesions are the components of that.
    """
    numbers = label_lesions(prob_map >= threshold)
    inside = numbers > 0
    of = numbers[inside]
    sums = np.bincount(of, log_odds(prob_map[inside]), minlength=numbers.max() + 1)
    scores = expit(sums / np.maximum(np.bincount(of, minlength=len(sums)), 1))
    scores[0] = 0
    return scores.astype(prob_map.dtype)[numbers]


def lesion_score(probabilities: np.ndarray) -> float:
    """Returns the score of one lesion from the probabilities of its voxels; see `lesion_probabilities`."""
    return float(expit(log_odds(probabilities).mean()))


def log_odds(p: np.ndarray | float) -> np.ndarray:
    """Returns ln(p / (1 − p)), of a p that is no nearer to 0 or 1 than 0.0001."""
    p = np.clip(np.asarray(p, float), _LIKELY, 1 - _LIKELY)
    return np.log(p / (1 - p))


def expit(odds: np.ndarray | float) -> np.ndarray:
    """Returns the probability of these log odds."""
    return 1 / (1 + np.exp(-np.asarray(odds)))


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
