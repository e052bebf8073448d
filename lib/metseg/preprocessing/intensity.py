"""Grey values of a scan: between which limits they are stretched, and stretching itself."""

import cv2
import numpy as np

_EXACT = 2**24  # pixels that OpenCV counts exactly, for it counts in float32
_TISSUE = 0.4  # where the tissue's median comes to lie between 0 and 1: room for lesions 2.5 times as bright


def percentile_limits(image: np.ndarray) -> np.ndarray:
    """Returns the 1st and 99.5th percentile of each channel's non-zero pixels, of (…, C) uint8.

    They are (C, 2) float32; (0, 255) for a channel that is black.
    """
    limits = np.tile(np.float32([0, 255]), (image.shape[-1], 1))
    for row, histogram in zip(limits, _histograms(image), strict=True):
        # A histogram of 256 bins gives exact percentiles of 8-bit pixels without sorting a volume.
        counts = histogram[1:].cumsum()
        if counts[-1] > 0:
            row[:] = 1 + np.searchsorted(counts, counts[-1] * np.array([0.01, 0.995]))
    return limits


def tissue_limits(image: np.ndarray) -> np.ndarray:
    """Returns limits that bring the median of each channel's tissue to the same grey: 0 and 2.5 times it.

    Tissue is what is at least as bright as the mean of all non-zero pixels of (…, C) uint8: mostly brain, so
    that a bright scalp, which a high percentile follows, does not darken it. Shape as `percentile_limits`.
    """
    limits = np.tile(np.float32([0, 255]), (image.shape[-1], 1))
    grey = np.arange(256)
    for row, histogram in zip(limits, _histograms(image), strict=True):
        seen = histogram[1:].sum()
        if seen > 0:
            tissue = np.where(grey >= histogram @ grey / seen, histogram, 0).cumsum()
            row[1] = np.searchsorted(tissue, tissue[-1] / 2) / _TISSUE
    return limits


def _histograms(image: np.ndarray) -> np.ndarray:
    """Returns how often each channel has each of the 256 grey values, (C, 256)."""
    pixels = np.ascontiguousarray(image).reshape(-1, 1, image.shape[-1])
    histograms = np.zeros((image.shape[-1], 256))
    for start in range(0, len(pixels), _EXACT):
        part = pixels[start : start + _EXACT]
        for channel, histogram in enumerate(histograms):
            histogram += cv2.calcHist([part], [channel], None, [256], [0, 256]).ravel()
    return histograms


def stretch(image: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Makes the lower limit of each channel of (…, C) uint8 0 and the upper one 255; `limits` are (C, 2)."""
    low, high = limits.T
    scale = 255 / np.maximum(high - low, 1)
    grey = np.arange(256, dtype=np.uint8)[:, None]
    table = np.clip(np.rint((grey - low) * scale), 0, 255).astype(np.uint8)
    return cv2.LUT(image.reshape(-1, 1, image.shape[-1]), table[None]).reshape(image.shape)
