"""DICOM images that share places: stacks of several echoes or time points are split, copies are dropped."""

from collections import defaultdict
from collections.abc import Sequence
from hashlib import sha256

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


def pixels_to_compare(frames: Sequence[Frame]) -> int:
    """Returns how many pixels `without_copies` may have to decode."""
    shared = [frame for group in _by_place(frames).values() if len(group) > 1 for frame in group]
    return int(sum(frame.header["Rows"] * frame.header["Columns"] for frame in shared))


def without_copies(frames: list[Frame], *, compare: bool = True) -> tuple[list[Frame], list[str]]:
    """Drops images that lie at one place and are equal; raises a `MetsegError` where they differ.

    Only where places are shared are pixels read here, and if `compare` is off such frames are refused.
    """
    places, first, other = _by_place(frames), dict[tuple, tuple](), None
    shared = [(place, frame) for place, group in places.items() if len(group) > 1 for frame in group]
    if shared and not compare:
        raise MetsegError("holds too many images at shared positions; give the files of one a position alone")
    try:
        for k, image in read_pixels([frame for _, frame in shared]):
            place, frame = shared[k]
            own = scale(frame), image.shape, sha256(image.astype(np.float64)).digest()
            if first.setdefault(place, own) != own:  # decoding ends at the first that differs
                other = places[place]
                break
    except MetsegError as error:
        raise MetsegError(f"holds several images at one position, and {error}") from error
    if other:
        by = []
        for keyword, called in _TELLING_APART.items():
            values = sorted({_shown(frame.header.get(keyword)) for frame in other})
            by += [f"{called} ({listed(values)})"] * (len(values) > 1)
        names = listed([frame.path.name for frame in other])
        raise MetsegError(
            f"holds {len(other)} different images at one position ({names}); they differ in "
            f"{', '.join(by) or 'nothing that their headers tell'}; give the files of one alone"
        )
    if dropped := len(frames) - len(places):
        copies = "1 copy of a slice was" if dropped == 1 else f"{dropped} copies of slices were"
        return [group[0] for group in places.values()], [f"{copies} left out (same position and pixels)."]
    return frames, []


def _by_place(frames: Sequence[Frame]) -> dict[tuple, list[Frame]]:
    places = defaultdict[tuple, list[Frame]](list)
    for k, frame in enumerate(frames):
        places[same_place(frame) or (k,)].append(frame)
    return places


def _shown(value: object) -> str:
    if isinstance(value, list):
        return "/".join(map(_shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value or "none")


def listed(names: Sequence[str]) -> str:
    """Returns the first few names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
