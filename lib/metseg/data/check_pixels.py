"""What is wrong with the pixels of scans and masks, though each file can be read.

The limits lie far from the LGG set: in 88 of its patients no mask touches the border or marks more than 0.27
of the head, no lesion lies outside it, each channel has 96 grey values or more.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from metseg.data.readers.images import CLASSES_REMEDY, ONE_CLASS
from metseg.data.volume import CHANNELS
from metseg.masks.head import head_region

_HEAD_SHARE = 0.5  # of the head that a lesion may take up in one slice
_BORDER_SHARE = 0.25  # of the image's border: a whole side of a square; a scan may be cut close to a lesion
_OUTSIDE_SHARE = 0.5  # of a slice's lesion
_LEAST_HEAD = 0.1  # of an image: what is smaller may not be the head
_GREYS = 16  # values that are too few for a channel
_WHITE_SHARE = 0.25  # of the head in one channel
_COPIES, _COPIED_PX = 4, 9  # masks that cannot be alike by chance, and the pixels they mark
_FOLDED = 4  # scans of one fault that are told in one sentence


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


class Kind(NamedTuple):
    """A kind of fault; `error` as in `check_people.Finding`."""

    error: bool
    files: str
    what: str
    remedy: str


class Fault(NamedTuple):
    """A fault of one scan: in how many of how many files, and one of these."""

    kind: Kind
    case_id: str
    found: int
    of: int
    example: Path


_ALONE, _AGAIN = "mark the lesion alone, and leave all else 0", "export the scan again, with 0 to 255"
_FULL_MASK = Kind(True, "masks", "mark every pixel", _ALONE)
_INVERTED = Kind(True, "masks", "look inverted: they mark border and most of the head", "exchange 0 and 255")
_MOST_OF_HEAD = Kind(True, "masks", "mark more than half of the head", _ALONE)
_BORDER = Kind(True, "masks", "mark more than a quarter of the image's border", _ALONE)
_OUTSIDE = Kind(True, "masks", "mark more outside the head than in it", "pair each mask with its own image")
_NOTHING_SEEN = Kind(True, "masks", "mark a lesion in a blank image", "export it again, or clear the mask")
_COPIED = Kind(True, "masks", "with a lesion are all the same", "give each slice a mask of its own")
_BLANK = Kind(True, "images", "are blank", _AGAIN)
_ZERO_AND_ONE = Kind(True, "images", "hold the grey values 0 and 1 only", "rescale them to 0 to 255")


def _few_greys(channel: str) -> Kind:
    return Kind(True, "images", f"hold no more than {_GREYS} grey values of {channel}", _AGAIN)


def _clipped(channel: str) -> Kind:
    return Kind(True, "images", f"are white (255) in over a quarter of the head in {channel}", _AGAIN)


def _no_channel(channel: str) -> Kind:
    return Kind(False, "images", f"are blank in {channel}", "let FLAIR stand in its place if it is missing")


def faults_of(case_id: str, slices: Sequence[SlicePixels]) -> list[Fault]:
    """Returns what is wrong with the pixels of one scan."""
    head = _head([each.image for each in slices if each.image is not None])
    of_images = _faults_of_images(case_id, slices, head)
    of_masks = _faults_of_masks(case_id, slices, head)
    if {fault.kind for fault in of_images} & {_BLANK, _ZERO_AND_ONE}:  # which is said of all slices
        of_masks = [fault for fault in of_masks if fault.kind != _NOTHING_SEEN]
    return of_masks + of_images


def _faults_of_masks(case_id: str, slices: Sequence[SlicePixels], head: np.ndarray | None) -> list[Fault]:
    masks = [each for each in slices if each.labels is not None]
    faulty: dict[Kind, list[Path]] = defaultdict(list)
    good = []
    for each in masks:
        lesion = each.labels > 0
        if not lesion.any():
            continue
        kind = _fault_of_mask(lesion, each.image, head)
        if kind is None:
            good.append(lesion)
        else:
            faulty[kind].append(each.mask_path)
    if _INVERTED in faulty:  # of slices without a lesion, then, every pixel is marked
        faulty[_INVERTED] += faulty.pop(_FULL_MASK, [])
    large = len(good) >= _COPIES and np.count_nonzero(good[0]) >= _COPIED_PX
    if large and all(np.array_equal(good[0], lesion) for lesion in good):
        faulty[_COPIED] = [each.mask_path for each in masks if np.array_equal(each.labels > 0, good[0])]
    return [Fault(kind, case_id, len(paths), len(masks), paths[0]) for kind, paths in faulty.items()]


def _fault_of_mask(lesion: np.ndarray, image: np.ndarray | None, head: np.ndarray | None) -> Kind | None:
    if lesion.all():
        return _FULL_MASK
    border = np.concatenate([lesion[0], lesion[-1], lesion[1:-1, 0], lesion[1:-1, -1]]).mean() > _BORDER_SHARE
    if head is None or head.shape != lesion.shape:
        most = lesion.mean() > _HEAD_SHARE
    else:
        most = np.count_nonzero(lesion & head) > _HEAD_SHARE * np.count_nonzero(head)
    if border or most:
        return _BORDER if not most else _INVERTED if border else _MOST_OF_HEAD
    if image is not None and np.ptp(image) <= 1:
        return _NOTHING_SEEN
    if head is not None and head.shape == lesion.shape:
        outside = np.count_nonzero(lesion & ~head)
        return _OUTSIDE if outside > _OUTSIDE_SHARE * np.count_nonzero(lesion) else None
    return None


def _faults_of_images(case_id: str, slices: Sequence[SlicePixels], head: np.ndarray | None) -> list[Fault]:
    images = [(each.image_path, each.image) for each in slices if each.image is not None]
    seen = [(path, image) for path, image in images if np.ptp(image) > 0]  # near the vertex some may be blank
    if not images:
        return []
    if not seen:
        return [Fault(_BLANK, case_id, len(images), len(images), images[0][0])]
    counts = np.zeros((len(CHANNELS), 256), np.int64)  # of each grey value
    white = np.zeros(len(CHANNELS))
    for _, image in seen:
        for c in range(len(CHANNELS)):
            counts[c] += np.bincount(image[..., c].ravel(), minlength=256)
        if head is not None:
            white += (image[head] == 255).sum(axis=0)
    kinds = []
    if not counts[:, 2:].any():
        kinds = [_ZERO_AND_ONE]
    else:
        for name, count, share in zip(CHANNELS, counts, white, strict=True):
            greys = np.count_nonzero(count)
            if greys == 1:
                kinds.append(_no_channel(name))
            elif greys <= _GREYS:
                kinds.append(_few_greys(name))
            elif head is not None and share > _WHITE_SHARE * np.count_nonzero(head) * len(seen):
                kinds.append(_clipped(name))
    return [Fault(kind, case_id, len(seen), len(images), seen[0][0]) for kind in kinds]


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


def sentences(faults: Iterable[Fault], scans: int) -> list[tuple[bool, str]]:
    """Tells the faults of all scans, those of many in one sentence: (whether it is an error, sentence)."""
    by_kind: dict[Kind, list[Fault]] = defaultdict(list)
    for fault in faults:
        by_kind[fault.kind].append(fault)
    told = []
    for kind, alike in by_kind.items():
        folded = len(alike) >= _FOLDED or len(alike) == scans > 1
        who = "all" if len(alike) == scans else f"{len(alike)} of"
        for group in [alike] if folded else [[fault] for fault in alike]:
            where = f"{who} {scans} scans" if folded else group[0].case_id
            found, of = sum(fault.found for fault in group), sum(fault.of for fault in group)
            text = f"{where}: {found} of {of} {kind.files} {kind.what}, such as {group[0].example}"
            told.append((kind.error, f"{text}; {kind.remedy}"))
    return told


def label_sentences(masks: Iterable[tuple[Path, float]]) -> list[tuple[bool, str]]:
    """Tells of masks, (path, number), that mark with different numbers: they may be classes."""
    by_label: dict[float, list[Path]] = defaultdict(list)
    for path, label in masks:
        by_label[label].append(path)
    if len(by_label) < 2:
        return []
    each = ", ".join(
        f"{label:g} in {len(paths)} (such as {paths[0]})" for label, paths in sorted(by_label.items())
    )
    if by_label.keys() <= ONE_CLASS:
        return [(False, f"masks mark lesions with different numbers, {each}: all are taken as lesion")]
    return [(True, f"masks mark with different numbers, {each}; {CLASSES_REMEDY}")]
