"""Slices that a DICOM series lacks at its ends: positions cannot show them, other headers may."""

from collections.abc import Sequence

from metseg.data.readers.dicom_headers import Frame

_LISTED = 4  # numbers in a sentence


def lacking_at_ends(frames: Sequence[Frame], of_series: Sequence[Frame]) -> list[str]:
    """Returns a note on each sign that slices were not copied.

    Args:
        frames: The slices of one stack, no two at one place.
        of_series: All images under its UID, which may be several stacks.

    Reference:
        DICOM PS3.3: Images in Acquisition, General Image Module (C.7.6.1); Number of Slices, PET Series
        Module (C.8.9.1). Philips tells its slices in (2001,1018).
    """
    header, count = frames[0].header, len(frames)
    if count < 2 or frames[0].index != frames[-1].index:
        return []  # one slice is said as such, and a multi-frame file is whole
    images = len({(each.path, each.header.get("SOPInstanceUID")) for each in of_series})
    lie_here = {"ImagesInAcquisition": images, "NumberOfSlices": count, "NumberOfSlicesMR": count}
    for keyword, lying in lie_here.items():
        told = int(header.get(keyword, 0))
        # A derived series may still have the header of what it was computed from.
        if told > lying and "DERIVED" not in header.get("ImageType", ()):
            return [
                f"Its header tells {told} images ({keyword}), but {lying} lie here: slices at an end may be "
                "missing, and their lesions with them; copy the whole series if so."
            ]
    return _hint(of_series)


def _hint(frames: Sequence[Frame]) -> list[str]:
    """Returns what instance numbers suggest: programs may count otherwise, so they prove nothing."""
    numbers = sorted({int(each.header.get("InstanceNumber", -1)) for each in frames})
    if len(numbers) < len(frames) or numbers[0] < 0:
        return []
    lost = sorted({*range(numbers[0], numbers[-1])} - {*numbers})
    signs = [f"begin at {numbers[0]}"] if numbers[0] > 1 else []
    if lost:
        more = " …" * (len(lost) > _LISTED)
        signs.append(f"leave out {', '.join(map(str, lost[:_LISTED]))}{more}")
    if not signs:
        return []
    return [f"Its instance numbers {' and '.join(signs)}: perhaps not all of its slices were copied."]
