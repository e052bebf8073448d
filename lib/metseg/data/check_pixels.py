"""What is wrong with the pixels of scans and masks, though each file can be read: a table of rules.

The limits lie far from the LGG set: in 88 of its patients no mask touches the border or marks more than 0.27
of the head, each channel has 96 grey values or more.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from metseg.data.check_people import Finding
from metseg.data.volume import CHANNELS
from metseg.masks.head import head_region

_GREYS = 16  # values that are too few for a channel


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


class _Rule(NamedTuple):
    broken: Callable[..., bool]
    what: str
    remedy: str
    error: bool = True


# By what a mask with a lesion marks of the head and of the image's border, and whether its image is blank; of
# several rules that are broken the first is told. A side of a square is a quarter of its border.
_ALONE, _AGAIN = "mark the lesion alone, and leave all else 0", "export the scan again, with 0 to 255"
_MASK_RULES = (
    _Rule(
        lambda head, border, blank: head > 0.5 and border > 0.25,
        "look inverted: they mark border and most of the head",
        "exchange 0 and 255, or mark the lesion alone",
    ),
    _Rule(lambda head, *_: head > 0.5, "mark more than half of the head", _ALONE),
    _Rule(lambda _, border, blank: border > 0.25, "mark more than a quarter of the image's border", _ALONE),
    _Rule(
        lambda head, border, blank: blank,
        "mark a lesion in a blank image",
        "export it again, or clear the mask",
    ),
)
# By how many grey values a channel has in all slices, and the share of the head that is 255.
_CHANNEL_RULES = (
    _Rule(lambda greys, white: greys == 1, "are blank", "let FLAIR stand in its place", error=False),
    _Rule(lambda greys, white: greys <= _GREYS, f"hold no more than {_GREYS} grey values", _AGAIN),
    _Rule(lambda greys, white: white > 0.25, "are white (255) in over a quarter of the head", _AGAIN),
)


def pixel_findings(case_id: str, slices: Sequence[SlicePixels]) -> list[Finding]:
    """Returns what is wrong with the pixels of one scan."""
    head = _head([each.image for each in slices if each.image is not None])
    masks = [(each.mask_path, each) for each in slices if each.labels is not None]
    broken: dict[_Rule, list[Path]] = defaultdict(list)
    for path, each in masks:
        if rule := each.labels.any() and _first_broken(_MASK_RULES, *_measured(each, head)):
            broken[rule].append(path)
    found = [(rule, rule.what, len(paths), len(masks), "masks", paths[0]) for rule, paths in broken.items()]
    images = [(each.image_path, each.image) for each in slices if each.image is not None]
    # Near the vertex some may be blank; where all are, each channel has too few grey values.
    seen = [image for _, image in images if np.ptp(image) > 0]
    channels: dict[_Rule, list[str]] = defaultdict(list)
    for c, name in enumerate(CHANNELS if images else ()):
        planes = [image[..., c] for image in seen or [images[0][1]]]
        greys = np.count_nonzero(sum(np.bincount(plane.ravel(), minlength=256) for plane in planes))
        white = 0.0 if head is None else np.mean([plane[head] == 255 for plane in planes])
        if rule := _first_broken(_CHANNEL_RULES[0 if seen else 1 :], greys, white):
            channels[rule].append(name)
    for rule, names in channels.items():
        what = f"{rule.what} in {', '.join(names)}"
        found.append((rule, what, len(seen) or len(images), len(images), "images", images[0][0]))
    return [
        Finding(rule.error, f"{case_id}: {n} of {of} {kind} {what}, such as {path}; {rule.remedy}", rule.what)
        for rule, what, n, of, kind, path in found
    ]


def _first_broken(rules: Iterable[_Rule], *measured: float) -> _Rule | None:
    return next((rule for rule in rules if rule.broken(*measured)), None)


def _measured(pixels: SlicePixels, head: np.ndarray | None) -> tuple[float, float, bool]:
    lesion = pixels.labels > 0
    border = np.concatenate([lesion[0], lesion[-1], lesion[1:-1, 0], lesion[1:-1, -1]])
    of_head = lesion[head] if head is not None and head.shape == lesion.shape else lesion
    return of_head.mean(), border.mean(), pixels.image is not None and np.ptp(pixels.image) == 0


def _head(images: Sequence[np.ndarray]) -> np.ndarray | None:
    """Returns the head in all slices of a scan, (H, W) bool, or None where it is not found."""
    if len({image.shape for image in images}) != 1:
        return None
    head = head_region(np.mean([image.mean(axis=2, dtype=np.float32) for image in images], axis=0))
    return head if head.any() else None
