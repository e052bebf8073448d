"""Probability map to mask: threshold, holes, smallest lesion. No network is needed to do it again."""

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from metseg.masks.components import label_lesions, number_lesions


class Postprocessing(BaseModel):
    """Parameters of `postprocess`; a model brings its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float = Field(0.5, gt=0, lt=1)  # probability from which a pixel is lesion
    min_lesion_px: int = Field(0, ge=0)  # lesions of fewer pixels, on the scan's own grid, are dropped
    fill_holes: bool = False  # background that a lesion encloses becomes lesion


def postprocess(prob_map: np.ndarray, config: Postprocessing) -> np.ndarray:
    """Returns which pixels of an (H, W) or (Z, H, W) probability map are lesion, bool of the same shape.

    Every slice is treated by itself, so that a slice alone gets the mask it has within its volume. Holes are
    filled before lesions are measured against `min_lesion_px`.
    """
    mask = prob_map >= config.threshold
    for plane in mask if mask.ndim == 3 else [mask]:
        if config.fill_holes:
            _fill_holes(plane)
        if config.min_lesion_px > 1:
            labels, areas = number_lesions(plane)
            plane &= (areas >= config.min_lesion_px)[labels]
    return mask


def is_major(voxels: np.ndarray, min_share: float) -> np.ndarray:
    """Returns which lesions have at least this share of the largest one's voxels.

    `voxels` are (n + 1,), of each number of `label_lesions`; number 0 is no lesion.
    """
    major = voxels >= min_share * voxels[1:].max(initial=0)
    major[0] = False
    return major


def drop_minor(mask: np.ndarray, min_share: float) -> np.ndarray:
    """Returns a volume's mask, (Z, H, W) bool, without the lesions that are no `is_major`."""
    if min_share == 0:
        return mask
    labels = label_lesions(mask)
    return is_major(np.bincount(labels.ravel()), min_share)[labels]


def _fill_holes(mask: np.ndarray) -> None:
    # Lesions touch by corners, so background must not, or it would leak out of a diagonal ring.
    n, labels = cv2.connectedComponents((~mask).astype(np.uint8), connectivity=4)
    outside = np.zeros(n, bool)
    outside[0] = True  # the lesions themselves
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        outside[edge] = True
    mask |= ~outside[labels]
