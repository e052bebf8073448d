"""DICOM headers: what a file says of each image in it; pixels stay unread and no personal name is kept."""

import re
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from pydicom import Dataset, dcmread
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.filereader import _read_file_meta_info, read_partial, read_preamble
from pydicom.multival import MultiValue
from pydicom.tag import Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from metseg.base.errors import MetsegError
from metseg.data.readers.dicom_counted import CountedFile

# All that is kept of a header. The patient's name is not among it.
_KEPT = re.findall(
    r"\w+",
    """
PatientID StudyInstanceUID StudyDate SeriesInstanceUID SeriesNumber SeriesDescription ProtocolName Modality
SOPClassUID SOPInstanceUID FrameOfReferenceUID NumberOfFrames
Rows Columns PixelSpacing ImagePositionPatient ImageOrientationPatient SliceThickness SpacingBetweenSlices
SamplesPerPixel PhotometricInterpretation BitsStored PixelRepresentation RescaleSlope RescaleIntercept
PixelPaddingValue LossyImageCompression
ImageType FrameType ComplexImageComponent SequenceName PulseSequenceName ScanningSequence AcquisitionContrast
RepetitionTime EchoTime EffectiveEchoTime InversionTime InversionTimes InversionRecovery
ContrastBolusAgent ContrastBolusIngredient ContrastBolusVolume ContrastBolusTotalDose
ContrastBolusAgentAdministered
EchoNumbers DiffusionBValue TemporalPositionIdentifier TemporalPositionIndex TriggerTime AcquisitionNumber
StackID
InstanceNumber ImagesInAcquisition NumberOfSlices
""",
)
# The functional groups that hold them (PS3.3 C.7.6.16). Private groups repeat these keywords with other
# values: Philips's have a position of their own.
_GROUPS = re.findall(
    r"\w+",
    """
UnassignedSharedConvertedAttributesSequence UnassignedPerFrameConvertedAttributesSequence
PlanePositionSequence PlaneOrientationSequence PixelMeasuresSequence PixelValueTransformationSequence
FrameContentSequence MRImageFrameTypeSequence MREchoSequence MRDiffusionSequence MRModifierSequence
MRTimingAndRelatedParametersSequence ContrastBolusUsageSequence
""",
)
_LISTS = {
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "ImageType",
    "FrameType",
    "ScanningSequence",
}
_NESTED = (
    "PerFrameFunctionalGroupsSequence",
    "SharedFunctionalGroupsSequence",
    "ContrastBolusAgentSequence",
)
_KEPT = {tag_for_keyword(keyword): keyword for keyword in _KEPT}
_OF_NUMBERS = ("DS", "IS", "FD", "US", "UL", "US or SS")
_NUMBERS = {keyword for tag, keyword in _KEPT.items() if dictionary_VR(tag) in _OF_NUMBERS}
_KEPT[0x20011018] = "NumberOfSlicesMR"  # Philips's own
_NUMBERS.add("NumberOfSlicesMR")
_TAGS = [*_KEPT, 0x20010010, *map(tag_for_keyword, _NESTED)]
_OWNER = ["SOPClassUID", "PatientID", "StudyInstanceUID"]  # by tag, so that reading can end there
_NO_SCANS = {
    "1.2.840.10008.5.1.4.1.1.4.2": "MR spectrum",
    "1.2.840.10008.5.1.4.1.1.66.4": "segmentation (SEG)",
    "1.2.840.10008.5.1.4.1.1.66.7": "segmentation (SEG)",
    "1.2.840.10008.5.1.4.1.1.481.2": "dose (RTDOSE)",
}
MOST_FRAMES = 100_000
_LONGEST_BYTES, _MOST_VALUES = 1024, 32  # of an element that is kept
_UNKNOWN = "DICOM object without an image"
_SAME_AS = {"EchoTime": "EffectiveEchoTime", "InversionTime": "InversionTimes", "ImageType": "FrameType"}


class Frame(NamedTuple):
    """One slice as a file holds it.

    Attributes:
        path: The file.
        index: Which of the file's frames, from 0; 0 in a classic file, which has one.
        header: {keyword: float, str, or list of these where there may be several}; the frame's own value
            before the one that all frames share. What enhanced objects call otherwise (EffectiveEchoTime)
            stands under the classic keyword (EchoTime).
    """

    path: Path
    index: int
    header: Mapping[str, Any]


def read_frames(path: Path) -> tuple[list[Frame], str, int]:
    """Reads the header of one file.

    Returns:
        Its frames; what the file is where it holds no scan: `no DICOM file`, `Basic Text SR Storage`, …; and
        of how many parts what was read is, see `CountedFile`.

    Raises:
        MetsegError: The file cannot be opened.
    """
    if not _begins_as_dicom(path):
        return [], "no DICOM file", 0
    with CountedFile(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on values that are not kept
        try:
            return *_read_frames(file, Path(path)), file.parts
        except Exception:  # noqa: BLE001 - whatever pydicom stumbles over
            what = "DICOM file with too long a header" if file.has_too_many else "damaged DICOM file"
            return [], what, file.parts


def _read_frames(file: BinaryIO, path: Path) -> tuple[list[Frame], str]:
    if read_syntax(file) == DeflatedExplicitVRLittleEndian:
        return [], "deflated DICOM file (gdcmconv --raw FILE COPY unpacks it)"
    dataset = dcmread(file, stop_before_pixels=True, force=True, specific_tags=_TAGS)
    kept = _kept(dataset)
    sop_class = UID(kept.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID", ""))
    if not (kept.get("Rows") and kept.get("Columns")) or sop_class in _NO_SCANS:
        return [], _NO_SCANS.get(sop_class) or (sop_class.name if sop_class.is_valid else _UNKNOWN)
    return _frames(dataset, kept, path), ""


def read_owner(path: Path) -> tuple[str, str, str] | None:
    """Reads of one file what and whose it is, and no more: quicker than all of its header.

    Returns:
        SOPClassUID, PatientID and StudyInstanceUID, "" where they are missing or it is damaged; None where it
        is no DICOM file.

    Raises:
        MetsegError: The file cannot be opened.
    """
    if not _begins_as_dicom(path):
        return None
    with suppress(Exception), warnings.catch_warnings(), CountedFile(path) as file:
        warnings.simplefilter("ignore")
        if read_syntax(file) == DeflatedExplicitVRLittleEndian:
            return "", "", ""
        *_, last = tags = [Tag(name) for name in _OWNER]
        found = read_partial(file, lambda tag, *_: tag > last, force=True, specific_tags=tags)
        told = _kept(found)
        return tuple(told.get(name, "") for name in _OWNER)
    return "", "", ""


def read_syntax(file: BinaryIO) -> UID | None:
    """Returns the transfer syntax that a file's own header tells, and goes back to its beginning."""
    try:
        read_preamble(file, force=True)
        return _read_file_meta_info(file).get("TransferSyntaxUID")
    finally:
        file.seek(0)


def read_bounded(path: Path, **options) -> Dataset:
    """Returns pydicom's data set of a file; raises a `ValueError` where that might inflate without end."""
    with open(path, "rb") as file:
        if read_syntax(file) == DeflatedExplicitVRLittleEndian:  # pydicom inflates it without a bound
            raise ValueError("it is deflated; gdcmconv --raw FILE COPY unpacks it")
        return dcmread(file, force=True, **options)  # old files have no preamble


def _begins_as_dicom(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            start = file.read(132)
    except OSError as error:
        reason = error.strerror or error
        raise MetsegError(f"{path} cannot be opened ({reason}); check its name and permissions") from error
    # Old files have no preamble; they begin with group 2 or 8, little endian.
    return start[128:] == b"DICM" or start[:2] in (b"\2\0", b"\b\0")


def _frames(dataset: Dataset, kept: dict[str, Any], path: Path) -> list[Frame]:
    if agent := dataset.get("ContrastBolusAgentSequence"):  # enhanced: coded, not a text
        kept.setdefault("ContrastBolusAgent", str(agent[0].get("CodeMeaning", "")))
    count, groups = int(kept.get("NumberOfFrames") or 1), dataset.get("PerFrameFunctionalGroupsSequence")
    if not 1 <= count <= MOST_FRAMES:
        raise ValueError(f"{count} frames")
    if not groups:
        if count > 1:  # several frames, and one position for all
            kept.pop("ImagePositionPatient", None)
        return [Frame(path, index, kept) for index in range(count)]
    if len(groups) != count:
        raise ValueError(f"{len(groups)} headers of {count} frames")
    for shared in dataset.get("SharedFunctionalGroupsSequence") or ():
        kept |= _of_groups(shared)
    frames = []
    for index, group in enumerate(groups):
        header = kept | _of_groups(group)
        for classic, enhanced in _SAME_AS.items():
            if enhanced in header:
                header[classic] = header[enhanced]
        frames.append(Frame(path, index, header))
    return frames


def _of_groups(item: Dataset) -> dict[str, Any]:
    return {
        k: value
        for name in _GROUPS
        for part in (item.get(name) or ())[:1]
        for k, value in _kept(part).items()
    }


def _kept(dataset: Dataset) -> dict[str, Any]:
    """Returns {keyword: value} in plain types; what is empty or cannot be read as its type is left out."""
    found = {}
    for tag in _KEPT.keys() & dataset.keys():
        keyword = _KEPT[tag]
        raw = dataset.get_item(tag).value
        # It would be taken apart into its numbers.
        if isinstance(raw, bytes) and (len(raw) > _LONGEST_BYTES or raw.count(b"\\") >= _MOST_VALUES):
            continue
        try:
            value = dataset[tag].value
            values = value if isinstance(value, MultiValue) else [value]
            plain = float if keyword in _NUMBERS else _one_line
            values = [plain(each) for each in values if each is not None]
        except (ValueError, TypeError, OverflowError):
            continue
        if values and values[0] != "":
            found[keyword] = values if keyword in _LISTS else values[0]
    return found


def _one_line(value: Any) -> str:
    """Returns what may be shown to users, no longer than the longest UID."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in str(value)).split())[:64]
