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
from metseg.masks.head import head_hull

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


class _Marked(NamedTuple):
    """What a mask marks, as shares, and whether its image is blank."""

    head: float  # of the head, or of the image where no head is found
    border: float  # of the image's border
    outside: float  # of what is marked lies outside the head
    blank: bool


class _Greys(NamedTuple):
    """A channel in all slices."""

    values: int  # how many grey values it has
    white: float  # share of the head that is 255


class _Rule(NamedTuple):
    broken: Callable[..., bool]  # of `_Marked` or `_Greys`
    what: str
    remedy: str
    error: bool = True


_ALONE, _AGAIN = "mark the lesion alone, and leave all else 0", "export the scan again, with 0 to 255"
# The first that is broken is told. A square's side is a quarter of its border.
_MASK_RULES = (
    _Rule(
        lambda mask: mask.head > 0.5 and mask.border > 0.25,
        "look inverted: they mark border and most of the head",
        "exchange 0 and 255, or mark the lesion alone",
    ),
    _Rule(lambda mask: mask.head > 0.5, "mark more than half of the head", _ALONE),
    _Rule(lambda mask: mask.border > 0.25, "mark more than a quarter of the image's border", _ALONE),
    _Rule(lambda mask: mask.blank, "mark a lesion in a blank image", "export it again, or clear the mask"),
    _Rule(
        lambda mask: mask.outside > 0.5, "mark more outside the head than in it", "pair masks and images anew"
    ),
)
_COPIED = _Rule(bool, "with a lesion are all the same", "give each slice a mask of its own")
_CHANNEL_RULES = (
    _Rule(lambda grey: grey.values == 1, "are blank", "let FLAIR stand in its place", error=False),
    _Rule(lambda grey: grey.values <= _GREYS, f"hold no more than {_GREYS} grey values", _AGAIN),
    _Rule(lambda grey: grey.white > 0.25, "are white (255) in over a quarter of the head", _AGAIN),
)


def pixel_findings(case_id: str, slices: Sequence[SlicePixels]) -> list[Finding]:
    """Returns what is wrong with the pixels of one scan."""
    images = [(each.image_path, each.image) for each in slices if each.image is not None]
    masks = [each for each in slices if each.labels is not None]
    head = _head([image for _, image in images])
    of_rule: dict[_Rule | None, list[SlicePixels]] = defaultdict(list)
    for each in masks:
        if each.labels.any():
            of_rule[_first_broken(_MASK_RULES, _marked(each, head))].append(each)
    good = [each.labels > 0 for each in of_rule.pop(None, ())]
    if len(good) >= _COPIES and good[0].sum() >= _COPIED_PX and all(map(np.array_equal, good, good[1:])):
        of_rule[_COPIED] = [each for each in masks if np.array_equal(each.labels > 0, good[0])]
    found = [(rule, rule.what, alike, masks, "masks", alike[0].mask_path) for rule, alike in of_rule.items()]
    # Near the vertex some images may be blank; where all are, each channel has too few grey values.
    seen = [pair for pair in images if np.ptp(pair[1]) > 0]
    rules, shown = (_CHANNEL_RULES, seen) if seen else (_CHANNEL_RULES[1:], images)
    channels: dict[_Rule | None, list[str]] = defaultdict(list)
    for c, name in enumerate(CHANNELS if images else ()):
        planes = [image[..., c] for _, image in shown]
        values = np.count_nonzero(sum(np.bincount(plane.ravel(), minlength=256) for plane in planes))
        white = 0.0 if head is None else np.mean([plane[head] == 255 for plane in planes])
        channels[_first_broken(rules, _Greys(values, white))].append(name)
    for rule in [rule for rule in channels if rule]:
        what = f"{rule.what} in {', '.join(channels[rule])}"
        found.append((rule, what, shown, images, "images", shown[0][0]))
    return [
        Finding(
            rule.error,
            f"{case_id}: {len(some)} of {len(every)} {kind} {what}, such as {path}; {rule.remedy}",
            rule.what,
        )
        for rule, what, some, every, kind, path in found
    ]


def _first_broken(rules: Iterable[_Rule], measured: _Marked | _Greys) -> _Rule | None:
    return next((rule for rule in rules if rule.broken(measured)), None)


def _marked(pixels: SlicePixels, head: np.ndarray | None) -> _Marked:
    lesion, outside = pixels.labels > 0, 0.0
    border = np.concatenate([lesion[0], lesion[-1], lesion[1:-1, 0], lesion[1:-1, -1]])
    of_head = lesion
    if head is not None and head.shape == lesion.shape:
        of_head, outside = lesion[head], 1 - head[lesion].mean()
    blank = pixels.image is not None and np.ptp(pixels.image) == 0
    return _Marked(of_head.mean(), border.mean(), outside, blank)


def _head(images: Sequence[np.ndarray]) -> np.ndarray | None:
    """Returns the hull of the head in all slices of a scan, (H, W) bool, or None where it is not found."""
    if len({image.shape for image in images}) != 1:
        return None
    hull = head_hull(np.mean([image.mean(axis=2, dtype=np.float32) for image in images], axis=0))
    return hull > 0 if hull.any() else None
