"""Lesions made fainter: from clear ones a network learns what faint ones look like."""

import cv2
import numpy as np

_SOFTNESS = 1 / 128  # of the side: standard deviation of the seam
_COARSE = 32  # side on which grey values are averaged
_REACH = 3.0  # standard deviation there, a tenth of the side: beyond the edge of large lesions
_AIR = 0.15  # below it there is no tissue around a lesion


def fade_lesions(image: np.ndarray, masks: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Brings lesions nearer to the grey of the tissue around them, their texture as it is.

    Args:
        image: (S, S, 3 K) float32 in [0, 1], K slices: one and its neighbours.
        masks: (K, S, S) bool, the lesions of each.
        shares: (3,) in [0, 1]: what lesions lose of their contrast in each channel, in all slices alike; at 1
            all of it.

    Returns:
        A new image of the same range. A slice without lesion, or with nothing but lesion, stays as it is.
    """
    slices = np.split(image, len(masks), axis=2)
    return np.concatenate(
        [_faded(each, mask, shares) for each, mask in zip(slices, masks, strict=True)], axis=2
    )


def _faded(image: np.ndarray, mask: np.ndarray, shares: np.ndarray) -> np.ndarray:
    tissue = (image > _AIR) & ~mask[..., None]
    if not mask.any() or not tissue.any(axis=(0, 1)).all():
        return image
    lesion = np.broadcast_to(mask[..., None], image.shape)
    contrast = _local_mean(image, lesion) - _local_mean(image, tissue)
    seam = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), _SOFTNESS * len(mask))[..., None]
    return np.clip(image - seam * shares.astype(np.float32) * contrast, 0, 1)


def _local_mean(image: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Returns a smooth (S, S, C) image of the grey values of some pixels; far from all of them their mean."""
    values, counts = (_smooth(each) for each in (np.where(where, image, 0), where.astype(np.float32)))
    mean = values.sum(axis=(0, 1)) / counts.sum(axis=(0, 1))
    smooth = (values + 1e-3 * mean) / (counts + 1e-3)
    return cv2.resize(smooth, image.shape[:2], interpolation=cv2.INTER_LINEAR)


def _smooth(image: np.ndarray) -> np.ndarray:
    coarse = cv2.resize(image, (_COARSE, _COARSE), interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(coarse, (0, 0), _REACH, borderType=cv2.BORDER_CONSTANT)
