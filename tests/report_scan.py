"""A small scan with three lesions, one of them measurable, for the tests of reports."""

import numpy as np

from metseg.data.volume import Volume

LPS = np.array([[-1.0, 0, 0, 30], [0, -1, 0, 25], [0, 0, 2, -10], [0, 0, 0, 1]])


def draw(affine: np.ndarray | None = LPS) -> tuple[Volume, np.ndarray]:
    """A head of 8 slices, 50 × 60, brighter to higher columns; lesions of 288, 32 and 1 voxels."""
    mask = np.zeros((8, 50, 60), bool)
    mask[2:5, 10:18, 12:24] = True
    mask[5:7, 30:34, 40:44] = True
    mask[1, 40, 10] = True
    y, x = np.mgrid[:50, :60]
    inside = (y - 24.5) ** 2 / 24**2 + (x - 29.5) ** 2 / 29**2 < 1
    head = np.where(inside, 100 + 2 * x, 0)
    image = np.where(mask, 400, np.broadcast_to(head, mask.shape)).astype(np.int16)
    return Volume(np.stack([image // 2, image]), ("flair", "t1c"), affine), mask
