"""The headers of a series as the writers of results repeat them: completed where they may be, or refused."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from metseg.base.errors import MetsegError

if TYPE_CHECKING:
    import pydicom

_NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID", "FrameOfReferenceUID")
# Type 2, "may be empty": pseudonymised files often lack them altogether.
_MAY_BE_EMPTY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip


def read_sources(paths: Iterable[Path], slice_mm: float) -> list["pydicom.Dataset"]:
    """Reads the headers of a series' files.

    Args:
        paths: The files, in the order of the slices.
        slice_mm: The slices' distance by their positions. It goes before the one that the headers tell, which
            programs that read a SEG believe, and stands in for a thickness that is missing.

    Raises:
        MetsegError: A file lacks what a result must refer to.
    """
    import pydicom

    sources = []
    for path in paths:
        source = pydicom.dcmread(path, stop_before_pixels=True, force=True)  # old files have no preamble
        if lacks := [name for name in _NEEDED if not source.get(name)]:
            raise MetsegError(
                f"{path} has no {', '.join(lacks)}, which a DICOM result refers to; leave it out"
            )
        about = {name: str(source.get(name) or "") for name in _MAY_BE_EMPTY}
        if "SpecificCharacterSet" in source:  # highdicom takes no empty one, nor several as in Japan
            source.SpecificCharacterSet = "ISO_IR 192"
        for name, text in about.items():
            setattr(source, name, text)
        measures = source
        if frames := source.get("PerFrameFunctionalGroupsSequence"):
            shared = source.SharedFunctionalGroupsSequence[0]
            for name in ("PixelMeasuresSequence", "PlaneOrientationSequence"):
                if name not in shared:  # each frame tells its own, and in a volume they are equal
                    shared[name] = frames[0][name]
            measures = shared.PixelMeasuresSequence[0]
        measures.SpacingBetweenSlices = pydicom.valuerep.DSfloat(slice_mm, auto_format=True)
        if not measures.get("SliceThickness"):
            measures.SliceThickness = measures.SpacingBetweenSlices
        sources.append(source)
    return sources
