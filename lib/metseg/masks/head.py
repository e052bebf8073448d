"""Where the head lies in a scan: around it there is air, which a network need not look at."""

import cv2
import numpy as np

Box = tuple[slice, slice]  # rows and columns
_LEAST_HEAD = 0.1  # of an image: what is smaller may not be the head
_LEAST = 0.7  # of a slice's longer side: a slice near the vertex must not fill the network's whole input
_MARGIN = 0.02  # of the same, on each side
_LONGEST = 1024  # px: a longer slice is shrunk before, for the smoothing reaches as far as the slice is long


def head_region(mean: np.ndarray) -> np.ndarray:
    """Returns the largest region brighter than half of Otsu's threshold, as skin and faint tissue are.

    `mean`, (H, W) float32, is one over channels, or over slices too. Where all is 0, nothing is head.

    Reference:
        Otsu 1979, "A Threshold Selection Method from Gray-Level Histograms", doi:10.1109/TSMC.1979.4310076.
    """
    height, width = mean.shape
    longer = max(height, width)
    if longer > _LONGEST:
        small = [max(1, round(n * _LONGEST / longer)) for n in (width, height)]
        region = head_region(cv2.resize(mean, small, interpolation=cv2.INTER_AREA))
        return cv2.resize(region.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
    mean = cv2.GaussianBlur(mean, (0, 0), longer / 128)
    if mean.max() == 0:
        return np.zeros(mean.shape, bool)
    grey = np.rint(mean * (255 / mean.max())).astype(np.uint8)
    threshold, _ = cv2.threshold(grey, 0, 255, cv2.THRESH_OTSU)
    _, labels, regions, _ = cv2.connectedComponentsWithStats((grey > threshold / 2).astype(np.uint8))
    return labels == 1 + regions[1:, cv2.CC_STAT_AREA].argmax()


def head_hull(mean: np.ndarray) -> np.ndarray:
    """Returns the convex hull of `head_region`, (H, W) uint8 in {0, 1}; empty where that is hardly a head."""
    region, hull = head_region(mean), np.zeros(mean.shape, np.uint8)
    if region.any():
        cv2.fillConvexPoly(hull, cv2.convexHull(np.argwhere(region)[:, ::-1].astype(np.int32)), 1)
    return hull if hull.mean() >= _LEAST_HEAD else np.zeros_like(hull)


def head_box(image: np.ndarray) -> Box:
    """Returns the rows and columns that the head takes up in all slices of (H, W, C) or (Z, H, W, C) uint8.

    Their longer side is at least 0.7 of the image's.
    """
    height, width, channels = image.shape[-3:]
    longer = max(height, width)
    mean = image.reshape(-1, height, width, channels).mean(axis=(0, 3), dtype=np.float32)
    region = head_region(mean)
    if not region.any():
        return slice(0, height), slice(0, width)
    left, top, wide, high = cv2.boundingRect(region.astype(np.uint8))
    by = max(_LEAST * longer, max(wide, high) + 2 * _MARGIN * longer) - max(wide, high)
    box = []
    for first, length, limit in ((top, high, height), (left, wide, width)):
        wanted = min(limit, round(length + by))  # half more on each side, within the image
        start = min(max(0, round(first - by / 2)), limit - wanted)
        box.append(slice(start, start + wanted))
    return tuple(box)
