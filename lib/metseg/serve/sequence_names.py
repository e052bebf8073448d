"""Which sequence a NIfTI file is and whose, by its name alone, whatever stands before the ending.

Endings are those of the public data sets, see `metseg.data.layouts.volumes`.
"""

import re
from pathlib import PurePosixPath

from metseg.data.layouts.volumes import LAYOUTS, place_of

NAMELESS = "scan"  # what a scan is called that nothing names
_KINDS = {
    kind: sequence
    for layout in LAYOUTS
    for kind, sequence in layout.kinds.items()
    if not kind.isdigit()  # folders of pictures; a NIfTI file's last number is that of its series
}
_ENDING = re.compile(rf"(?:^|[^a-z0-9])({'|'.join(sorted(_KINDS, key=len, reverse=True))})$")
# Masks that BIDS would call after a lesion if they were of one, and those of something else by their word.
_OF_OTHERS = re.compile(
    r"^sub-(?!.*(lesion|tumou?r|met)).*mask$|(^|[^a-z0-9])(brain|head|skull|tissue|csf|[gw]m)[^a-z0-9]?mask$"
)
_SUFFIX = re.compile(r"\.nii(\.gz)?$|\.gz$", re.IGNORECASE)


def sequence_of(name: str) -> str:
    """Returns the sequence that a NIfTI file's name tells by its ending, as public data sets name theirs."""
    if place := place_of(name):
        return place.kind
    stem = _SUFFIX.sub("", PurePosixPath(name).name).lower()
    if _OF_OTHERS.search(stem) or not (found := _ENDING.search(stem)):
        return ""
    enhanced = f"ce-{found[1]}" if re.search(r"(^|[^a-z0-9])ce-", stem) else ""
    return _KINDS.get(enhanced) or _KINDS[found[1]]


def case_of(name: str) -> str:
    """Returns what to call a scan by one of its files: its name without the sequence's ending."""
    stem = _SUFFIX.sub("", PurePosixPath(name.replace("\\", "/")).name)
    if place := place_of(name):
        stem = place.case_id
    elif found := _ENDING.search(stem.lower()):
        stem = stem[: found.start()]
    return re.sub(r"[^\w.-]+", "_", stem).strip("._-")[:80] or NAMELESS
