"""Where the head lies in a scan: around it there is air, which a network need not look at."""

import cv2
import numpy as np

Box = tuple[slice, slice]  # rows and columns
_LEAST = 0.7  # of a slice's longer side: a slice near the vertex must not fill the network's whole input
_MARGIN = 0.02  # of the same, on each side


def head_box(image: np.ndarray) -> Box:
    """Returns the rows and columns that the head takes up, the same for all slices of a volume.

    The head is the largest region of the mean over slices and channels that is brighter than half of Otsu's
    threshold: half, for skin and faint tissue belong to it.

    Args:
        image: (H, W, C) or (Z, H, W, C) uint8.

    Returns:
        Rows and columns, within the image; their longer side is at least 0.7 of the image's.

    Reference:
        Otsu 1979, "A Threshold Selection Method from Gray-Level Histograms", doi:10.1109/TSMC.1979.4310076.
    """
    height, width, channels = image.shape[-3:]
    longer = max(height, width)
    mean = image.reshape(-1, height, width, channels).mean(axis=(0, 3), dtype=np.float32)
    mean = cv2.GaussianBlur(mean, (0, 0), longer / 128)
    if mean.max() == 0:
        return slice(0, height), slice(0, width)
    grey = np.rint(mean * (255 / mean.max())).astype(np.uint8)
    threshold, _ = cv2.threshold(grey, 0, 255, cv2.THRESH_OTSU)
    regions = cv2.connectedComponentsWithStats((grey > threshold / 2).astype(np.uint8))[2][1:]
    left, top, wide, high = regions[regions[:, cv2.CC_STAT_AREA].argmax(), : cv2.CC_STAT_AREA]
    grown = max(_LEAST * longer, max(wide, high) + 2 * _MARGIN * longer) - max(wide, high)
    return _grown(top, high, grown, height), _grown(left, wide, grown, width)


def _grown(first: int, length: int, by: float, limit: int) -> slice:
    """Returns a range that is longer by so much, half of it on each side, moved into the image."""
    wanted = min(limit, round(length + by))
    start = min(max(0, round(first - by / 2)), limit - wanted)
    return slice(start, start + wanted)
