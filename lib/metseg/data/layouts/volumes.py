"""How public data sets name their volumes' files: the sequence, the case, and which labels make what."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from metseg.data.patients import Identity, identify

POSITIVE = frozenset[int]()  # every number above 0, in a reference that numbers lesions one by one


REFERENCE = "reference"


class Layout(NamedTuple):
    """How a data set names its files.

    Attributes:
        name: The data set's.
        file: Matches a path below the data set's folder, with the groups `case` and `kind`.
        kinds: What each kind is, in lower case: a sequence, or the reference; any other is left out.
        regions: Which numbers of the reference make a region; the first one is segmented unless told.
        guess: What is guessed, where names tell less than which sequence is which.
    """

    name: str
    file: re.Pattern
    kinds: Mapping[str, str]
    regions: Mapping[str, frozenset[int]]
    guess: str = ""


class Place(NamedTuple):
    """What a file is.

    Attributes:
        case_id: The scan that it belongs to.
        kind: The sequence, or `REFERENCE`.
        layout: Whose names these are.
        who: Whose scan it is.
    """

    case_id: str
    kind: str
    layout: Layout
    who: Identity


def _file(pattern: str) -> re.Pattern:
    return re.compile(rf"(?:.*/)?{pattern}\.nii(\.gz)?", re.IGNORECASE | re.ASCII)


def _brats(enhancing: int, **more: frozenset[int]) -> dict[str, frozenset[int]]:
    core = frozenset({1, enhancing})
    return {"TC": core, "ET": frozenset({enhancing}), "WT": core | {2}} | more


# The first that knows a name says what it is.
LAYOUTS = (
    Layout(
        "BraTS",
        _file(r"(?P<case>[^/]+)-(?P<kind>t1n|t1c|t2w|t2f|seg)"),
        {"t1n": "t1", "t1c": "t1c", "t2w": "t2", "t2f": "flair", "seg": REFERENCE},
        _brats(3, RC=frozenset({4})),
    ),
    Layout(
        "BIDS",
        _file(r"(?P<case>sub-[a-z\d]+(_ses-[a-z\d]+)?)_(?P<kind>[^/]+)"),
        {"t1w": "t1", "ce-t1w": "t1c", "t2w": "t2", "flair": "flair", "ce-flair": "flair", "mask": REFERENCE},
        {"lesion": POSITIVE},
    ),
    Layout(
        "UCSF-BMSR",
        _file(r"(?P<case>\d+[a-z])_(?P<kind>t1pre|t1post|flair|seg)"),
        {"t1pre": "t1", "t1post": "t1c", "flair": "flair", "seg": REFERENCE},
        {"lesion": POSITIVE},
    ),
    Layout(
        "BraTS before 2023",
        _file(r"(?P<case>[^/]+)_(?P<kind>t1|t1ce|t2|flair|seg)"),
        {"t1": "t1", "t1ce": "t1c", "t2": "t2", "flair": "flair", "seg": REFERENCE},
        _brats(4),
    ),
    Layout(
        "BrainMetShare",
        _file(r"(?P<case>Mets_\d+)/(?P<kind>t1_pre|t1_gd|flair|seg)"),
        {"t1_pre": "t1", "t1_gd": "t1c", "flair": "flair", "seg": REFERENCE},
        {"lesion": POSITIVE},
    ),
    Layout(  # folders of numbered pictures
        "BrainMetShare as PNG",
        re.compile(r"(?:.*/)?(?P<case>Mets_\w+)/(?P<kind>[0-3]|seg)", re.IGNORECASE | re.ASCII),
        {"1": "t1", "2": "t1c", "3": "flair", "seg": REFERENCE},
        {"lesion": POSITIVE},
        "folders were taken as BrainMetShare numbers them: 1 is t1, 2 is t1c (spin echo, as 1 is), 3 is "
        "flair; 0, gradient echo after contrast, is left out, unless --sequence t1c=0 or layout.yml takes it",
    ),
)
# Masks of lesions among BIDS derivatives; others are of brain, tissue or nothing that a name tells.
_OF_LESIONS = re.compile(
    r"(label|desc)-(lesions?|tumou?rs?|mets?|metastas[ei]s|TC|ET|WT)(_|$)", re.IGNORECASE
)


def place_of(place: str) -> Place | None:
    """Returns what a path below the data set's folder is by the first layout that knows it."""
    for layout in LAYOUTS:
        if found := layout.file.fullmatch(place):
            kind = found["kind"].lower()
            kind = _bids_kind(kind, place) if layout.name == "BIDS" else kind
            if kind := layout.kinds.get(kind):
                return Place(found["case"], kind, layout, identify(found["case"]))
    return None


def _bids_kind(entities: str, place: str) -> str:
    """Returns a BIDS name's suffix, with `ce-` before it after a contrast agent; "" for what is no scan."""
    suffix = entities.rpartition("_")[2]
    if suffix in ("mask", "dseg"):
        return "mask" if _OF_LESIONS.search(entities) else ""
    if "derivatives" in place.lower().split("/")[:-1]:
        return ""  # the scan again, preprocessed
    return f"ce-{suffix}" if re.search(r"(^|_)ce-", entities) else suffix
