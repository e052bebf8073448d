"""Lesions pasted into other slices: a network meets them where its training patients have none."""

import cv2
import numpy as np

from metseg.masks.head import head_hull

_DEPTH = 0.11  # of the side: the middle of what is pasted lies at least so far within the head
_RIM = 0.06  # of the side: scalp and skull, over which nothing is pasted
_SOFTNESS = 1 / 128  # of the side: standard deviation of the seam
_LEAST_GREY = 0.15  # in the mean: below it a slice shows noise


def paste_lesion(
    image: np.ndarray, mask: np.ndarray, donor: np.ndarray, donor_mask: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Pastes the lesions of one slice into the head of another, at a random place.

    Images are (S, S, C) float32 in [0, 1], masks (S, S) bool, as is the new pair that is returned; the given
    one is, where the slice shows no head, or the donor no lesion. Of several regions, masks of (S, S, T), all
    that belongs to any is pasted, and is there what it was in the donor.

    Reference:
        Yang et al. 2021, "TumorCP: A Simple but Effective Object-Level Data Augmentation for Tumor
        Segmentation", MICCAI 2021: copies between patients, at any place. The soft seam is our own.
    """
    side, head = len(mask), _head(image)
    depth = cv2.distanceTransform(head, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    places, lesion = np.argwhere(depth > _DEPTH * side), np.argwhere(_any(donor_mask))
    if not len(places) or not len(lesion):
        return image, mask
    shift = np.rint(places[rng.integers(len(places))] - lesion.mean(axis=0)).astype(int)
    moved_mask = _moved(donor_mask, shift)
    pasted = _any(moved_mask) & (depth > _RIM * side)
    # The seam lies around the lesion: across it a small one would hardly be seen, and yet be in the mask.
    reach = 2 * round(2 * _SOFTNESS * side) + 1
    near = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    around = cv2.dilate(pasted.astype(np.float32), near)
    around[_any(mask) & ~pasted] = 0  # the slice's own lesions stay to be seen
    weight = cv2.GaussianBlur(around, (0, 0), _SOFTNESS * side)[..., None]
    there = pasted if mask.ndim == 2 else pasted[..., None]
    return image + weight * (_moved(donor, shift) - image), np.where(there, moved_mask, mask)


def _any(mask: np.ndarray) -> np.ndarray:
    """Returns what belongs to any region, (S, S) bool."""
    return mask if mask.ndim == 2 else mask.any(axis=2)


def _head(image: np.ndarray) -> np.ndarray:
    """Returns the hull of the head in a slice, (S, S) uint8 in {0, 1}; nothing where it shows hardly any."""
    grey = image[..., :3].mean(axis=2)
    head = head_hull(grey)
    return head if head.any() and grey[head > 0].mean() >= _LEAST_GREY else np.zeros_like(head)


def _moved(array: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Returns an (S, S, …) array moved by (down, right) pixels, with zeros where nothing came."""
    moved = np.zeros_like(array)
    to, come = ([slice(max(0, k), len(array) + min(0, k)) for k in each] for each in (shift, -shift))
    moved[*to] = array[*come]
    return moved
