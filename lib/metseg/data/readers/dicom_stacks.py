"""DICOM images that share places: stacks of several echoes or time points are split, copies are dropped."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from metseg.base.errors import MetsegError
from metseg.data.readers.dicom_geometry import same_place
from metseg.data.readers.dicom_headers import Frame
from metseg.data.readers.dicom_pixels import read_pixels, scale

# What tells several images of one place apart, and how users call it.
_TELLING_APART = {
    "EchoTime": "echo time",
    "EchoNumbers": "echo",
    "DiffusionBValue": "b-value",
    "InversionTime": "inversion time",
    "TemporalPositionIdentifier": "time point",
    "TemporalPositionIndex": "time point",
    "ComplexImageComponent": "component",
    "ImageType": "image type",
    "StackID": "stack",
    "AcquisitionNumber": "acquisition",
    "TriggerTime": "trigger time",
}
_MAX_PARTS = 8  # more are functional or dynamic imaging


def split(frames: list[Frame], name: str = "") -> dict[str, list[Frame]]:
    """Splits images that share places into stacks, each with all the places, where a value tells them."""
    placed = [(same_place(frame), frame) for frame in frames]
    places = {place for place, _ in placed}
    if None in places or len(places) == len(placed):
        return {name: frames}
    for keyword, called in _TELLING_APART.items():
        groups = defaultdict[str, list[tuple]](list)
        for place, frame in placed:
            groups[_shown(frame.header.get(keyword))].append((place, frame))
        complete = all({place for place, _ in group} == places for group in groups.values())
        if 1 < len(groups) <= _MAX_PARTS and complete:
            stacks = [
                split([frame for _, frame in group], f"{name} {called} {value}".strip())
                for value, group in groups.items()
            ]
            return {part: stack for parts in stacks for part, stack in parts.items()}
    return {name: frames}


def without_copies(frames: list[Frame]) -> tuple[list[Frame], list[str]]:
    """Drops images that lie at one place and are equal; raises a `MetsegError` where they differ.

    Only where places are shared are pixels read here.
    """
    places = defaultdict[tuple, list[Frame]](list)
    for k, frame in enumerate(frames):
        places[same_place(frame) or (k,)].append(frame)
    for group in places.values():
        if len(group) == 1:
            continue
        try:
            pixels = read_pixels(group)
            first = next(pixels)
            alike = len({scale(frame) for frame in group}) == 1
            # Decoding ends at the first that differs.
            alike = alike and all(np.array_equal(first, other) for other in pixels)
        except MetsegError as error:
            raise MetsegError(f"holds several images at one position, and {error}") from error
        if not alike:
            by = []
            for keyword, called in _TELLING_APART.items():
                values = sorted({_shown(frame.header.get(keyword)) for frame in group})
                by += [f"{called} ({listed(values)})"] * (len(values) > 1)
            names = listed([frame.path.name for frame in group])
            raise MetsegError(
                f"holds {len(group)} different images at one position ({names}); they differ in "
                f"{', '.join(by) or 'nothing that their headers tell'}; give the files of one alone"
            )
    if dropped := len(frames) - len(places):
        copies = "1 copy of a slice was" if dropped == 1 else f"{dropped} copies of slices were"
        return [group[0] for group in places.values()], [f"{copies} left out (same position and pixels)."]
    return frames, []


def _shown(value: object) -> str:
    if isinstance(value, list):
        return "/".join(map(_shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value or "none")


def listed(names: Sequence[str]) -> str:
    """Returns the first few names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
