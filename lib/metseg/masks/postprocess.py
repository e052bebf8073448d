"""Probability map to mask: thresholds, holes, smallest lesion. No network is needed to do it again."""

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_serializer

from metseg.masks.components import label_lesions, lesion_probabilities, number_lesions


class Postprocessing(BaseModel):
    """Parameters of `postprocess`; a model brings its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float = Field(0.5, gt=0, lt=1)  # probability from which a pixel is lesion
    lesion_threshold: float | None = Field(None, gt=0, lt=1)  # that each lesion's score reaches, if any
    min_lesion_px: int = Field(0, ge=0)  # lesions of fewer pixels, on the scan's own grid, are dropped
    fill_holes: bool = False  # background that a lesion encloses becomes lesion
    # A lesion's voxels from it on make its score; `threshold`, unless that was moved from the network's own.
    scored_from: float | None = Field(None, gt=0, lt=1, exclude=True)

    def detecting_from(self, lesion_threshold: float) -> "Postprocessing":
        """Returns the same with another `lesion_threshold`, and no `threshold` above it."""
        lower = min(self.threshold, lesion_threshold)
        return self.model_copy(update={"lesion_threshold": lesion_threshold, "threshold": lower})

    def extending_from(self, threshold: float) -> "Postprocessing":
        """Returns the same with another `threshold`: lesions extend further or less and keep their scores."""
        if threshold == self.threshold:
            return self
        scored_from = self.scored_from or self.threshold
        return self.model_copy(update={"threshold": threshold, "scored_from": scored_from})

    @model_serializer(mode="wrap")
    def _without_none(self, inner):
        """Leaves out what older models do not know, so that what is written of them stays as it is."""
        known = inner(self)
        if self.lesion_threshold is None:
            known.pop("lesion_threshold", None)
        return known


def postprocess(prob_map: np.ndarray, config: Postprocessing) -> np.ndarray:
    """Returns which pixels of an (H, W) or (Z, H, W) probability map are lesion, bool of the same shape.

    A lesion of the map, in 3D where that is, is kept if its `lesion_score` reaches `lesion_threshold`; of
    several that lie in it by `scored_from`, that of one.
    All else treats every slice by itself, so that without it a slice alone gets the mask it has within its
    volume. Holes are filled before lesions are measured against `min_lesion_px`.
    """
    mask = prob_map >= config.threshold
    if config.lesion_threshold is not None:
        scored_from = config.scored_from or config.threshold
        sure = lesion_probabilities(prob_map, threshold=scored_from) >= config.lesion_threshold
        mask = mask & sure if scored_from == config.threshold else _holding(mask, sure)
    for plane in mask if mask.ndim == 3 else [mask]:
        if config.fill_holes:
            _fill_holes(plane)
        if config.min_lesion_px > 1:
            labels, areas = number_lesions(plane)
            plane &= (areas >= config.min_lesion_px)[labels]
    return mask


def _holding(mask: np.ndarray, sure: np.ndarray) -> np.ndarray:
    """Returns the lesions of a mask that hold a voxel of another."""
    numbers = label_lesions(mask)
    kept = np.zeros(numbers.max() + 1, bool)
    kept[numbers[sure]] = True
    kept[0] = False
    return kept[numbers]


def detection_map(prob_map: np.ndarray, threshold: float) -> np.ndarray:
    """Returns the probabilities with each lesion's score in all of its voxels.

    Cut at any `lesion_threshold` it gives the mask by `detecting_from` that: lesions are whole above
    `threshold`, and below it their voxels come one by one.

    Args:
        prob_map: float, (H, W) or (Z, H, W).
        threshold: A voxel is part of a lesion from it on.
    """
    scores = lesion_probabilities(prob_map, threshold=threshold)
    return np.where(prob_map >= threshold, scores, prob_map)


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


def volume_mask(prob_map: np.ndarray, config: Postprocessing, min_share: float) -> np.ndarray:
    """Returns the mask of a (Z, H, W) map: by `postprocess`, and of several slices without what is minor."""
    mask = postprocess(prob_map, config)
    return drop_minor(mask, min_share) if len(mask) > 1 else mask


def _fill_holes(mask: np.ndarray) -> None:
    # Lesions touch by corners, so background must not, or it would leak out of a diagonal ring.
    n, labels = cv2.connectedComponents((~mask).astype(np.uint8), connectivity=4)
    outside = np.zeros(n, bool)
    outside[0] = True  # the lesions themselves
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        outside[edge] = True
    mask |= ~outside[labels]
