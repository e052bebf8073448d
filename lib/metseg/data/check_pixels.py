"""What is wrong with the pixels of scans and masks, though each file can be read: a table of rules.

The limits lie far from the LGG set: in 88 of its patients no mask touches the border or marks more than 0.27
of the head, no lesion lies outside it, each channel has 96 grey values or more.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from metseg.data.check_people import Finding
from metseg.data.readers.images import CLASSES_REMEDY, ONE_CLASS
from metseg.data.volume import CHANNELS
from metseg.masks.head import head_region

_LEAST_HEAD = 0.1  # of an image: what is smaller may not be the head
_GREYS = 16  # values that are too few for a channel
_COPIES, _COPIED_PX = 4, 9  # masks that cannot be alike by chance, and the pixels they mark


class SlicePixels(NamedTuple):
    """One slice; what could not be read is None.

    Attributes:
        image: (H, W, 3) uint8.
        labels: (H, W), the mask as stored: 0 and at most one other number.
    """

    image_path: Path | None
    image: np.ndarray | None
    mask_path: Path | None
    labels: np.ndarray | None


class _Mask(NamedTuple):
    """What one mask with a lesion marks, as shares."""

    of_border: float  # of the image's
    of_head: float  # of the image where there is no head
    outside_head: float  # of the lesion
    blank: bool  # whether its image is of one colour


class _Channel(NamedTuple):
    """One channel of a scan: how many grey values it has, and the share of the head that is white."""

    greys: int
    white: float


class _Rule(NamedTuple):
    broken: Callable[..., bool]
    what: str
    remedy: str
    error: bool = True


_ALONE, _AGAIN = "mark the lesion alone, and leave all else 0", "export the scan again, with 0 to 255"
# A whole side of a square is a quarter of its border; a scan may be cut close to a lesion.
_MASK_RULES = (
    _Rule(
        lambda mask: mask.of_head > 0.5 and mask.of_border > 0.25,
        "look inverted: they mark border and most of the head",
        "exchange 0 and 255, or mark the lesion alone",
    ),
    _Rule(lambda mask: mask.of_head > 0.5, "mark more than half of the head", _ALONE),
    _Rule(lambda mask: mask.of_border > 0.25, "mark more than a quarter of the image's border", _ALONE),
    _Rule(lambda mask: mask.blank, "mark a lesion in a blank image", "export it again, or clear the mask"),
    _Rule(
        lambda mask: mask.outside_head > 0.5,
        "mark more outside the head than in it",
        "pair each mask with its own image",
    ),
)
_COPIED = "with a lesion are all the same", "give each slice a mask of its own"
_CHANNEL_RULES = (
    _Rule(lambda channel: channel.greys == 1, "are blank", "let FLAIR stand in its place", error=False),
    _Rule(lambda channel: channel.greys <= _GREYS, f"hold no more than {_GREYS} grey values", _AGAIN),
    _Rule(lambda channel: channel.white > 0.25, "are white (255) in over a quarter of the head", _AGAIN),
)


def pixel_findings(case_id: str, slices: Sequence[SlicePixels]) -> list[Finding]:
    """Returns what is wrong with the pixels of one scan."""
    images = [(each.image_path, each.image) for each in slices if each.image is not None]
    head = _head([image for _, image in images])
    return _of_masks(case_id, slices, head) + (_of_images(case_id, images, head) if images else [])


def _of_masks(case_id: str, slices: Sequence[SlicePixels], head: np.ndarray | None) -> list[Finding]:
    masks = [each for each in slices if each.labels is not None]
    broken, good = defaultdict[_Rule | None, list[Path]](list), []
    for each in masks:
        lesion = each.labels > 0
        if lesion.any():
            seen = _measured(lesion, each.image, head)
            rule = next((rule for rule in _MASK_RULES if rule.broken(seen)), None)
            broken[rule].append(each.mask_path)
            good += [lesion] if rule is None else []
    told = [(rule.what, rule.remedy, paths) for rule, paths in broken.items() if rule]
    large = len(good) >= _COPIES and np.count_nonzero(good[0]) >= _COPIED_PX
    if large and all(np.array_equal(good[0], lesion) for lesion in good):
        told.append((*_COPIED, broken[None]))
    return [
        Finding(
            True, f"{case_id}: {len(paths)} of {len(masks)} masks {what}, such as {paths[0]}; {remedy}", what
        )
        for what, remedy, paths in told
    ]


def _measured(lesion: np.ndarray, image: np.ndarray | None, head: np.ndarray | None) -> _Mask:
    border = np.concatenate([lesion[0], lesion[-1], lesion[1:-1, 0], lesion[1:-1, -1]]).mean()
    blank = image is not None and np.ptp(image) == 0
    if head is None or head.shape != lesion.shape:
        return _Mask(border, lesion.mean(), 0.0, blank)
    within = np.count_nonzero(lesion & head)
    return _Mask(border, within / np.count_nonzero(head), 1 - within / np.count_nonzero(lesion), blank)


def _of_images(
    case_id: str, images: Sequence[tuple[Path, np.ndarray]], head: np.ndarray | None
) -> list[Finding]:
    # Near the vertex some may be blank; where all are, each channel has too few grey values.
    seen = [image for _, image in images if np.ptp(image) > 0]
    rules = _CHANNEL_RULES if seen else _CHANNEL_RULES[1:]
    seen = seen or [image for _, image in images]
    broken = defaultdict[_Rule, list[str]](list)
    for c, name in enumerate(CHANNELS):
        greys = sum(np.bincount(image[..., c].ravel(), minlength=256) for image in seen)
        white = 0.0 if head is None else np.mean([(image[head, c] == 255).mean() for image in seen])
        channel = _Channel(np.count_nonzero(greys), white)
        if rule := next((rule for rule in rules if rule.broken(channel)), None):
            broken[rule].append(name)
    count = f"{case_id}: {len(seen)} of {len(images)} images"
    return [
        Finding(
            rule.error,
            f"{count} {rule.what} in {', '.join(names)}, such as {images[0][0]}; {rule.remedy}",
            rule.what,
        )
        for rule, names in broken.items()
    ]


def _head(images: Sequence[np.ndarray]) -> np.ndarray | None:
    """Returns the hull of the head in all slices of a scan, (H, W) bool, or None where it is not found."""
    if len({image.shape for image in images}) != 1:
        return None
    total = np.zeros(images[0].shape[:2], np.float32)
    for image in images:
        total += image.mean(axis=2, dtype=np.float32)
    region, hull = head_region(total / len(images)), np.zeros(total.shape, np.uint8)
    if not region.any():
        return None
    cv2.fillConvexPoly(hull, cv2.convexHull(np.argwhere(region)[:, ::-1].astype(np.int32)), 1)
    return hull > 0 if hull.mean() >= _LEAST_HEAD else None


def label_findings(masks: Iterable[tuple[Path, float]]) -> list[Finding]:
    """Tells of masks, (path, number), that mark with different numbers: they may be classes."""
    by_label: dict[float, list[Path]] = defaultdict(list)
    for path, label in masks:
        by_label[label].append(path)
    if len(by_label) < 2:
        return []
    found = sorted(by_label.items())
    each = ", ".join(f"{label:g} in {len(paths)} (such as {paths[0]})" for label, paths in found)
    if by_label.keys() <= ONE_CLASS:
        return [Finding(False, f"masks mark lesions with different numbers, {each}: all are taken as lesion")]
    return [Finding(True, f"masks mark with different numbers, {each}; {CLASSES_REMEDY}")]
