"""Finds DICOM series in a folder by their headers: whose they are, which sequence, on which grid."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metseg.base.errors import MetsegError
from metseg.base.files import files_below
from metseg.data.readers.dicom_completeness import lacking_at_ends
from metseg.data.readers.dicom_geometry import arrange
from metseg.data.readers.dicom_headers import MOST_FRAMES, Frame, read_frames
from metseg.data.readers.dicom_pixels import is_negative, scale
from metseg.data.readers.dicom_sequences import guess_sequence
from metseg.data.readers.dicom_stacks import listed, pixels_to_compare, split, without_copies

_MOST_SCALE = 1e30  # float32 ends at 3e38
_MOST_PIXELS = 2**24  # of a slice: 4096 × 4096
_MOST_COMPARED = 2**28  # pixels of images that share places, in all series


class TooMuch(MetsegError):
    """There is DICOM, but more than can be read."""


@dataclass(frozen=True, eq=False)
class Series:
    """One stack of slices, as its headers tell.

    Attributes:
        uid: SeriesInstanceUID.
        part: Which of the stacks that share it, such as `echo time 90`; "" where it is one.
        patient_id: PatientID, "" where there is none; the name is not kept.
        visit: StudyDate, YYYYMMDD, or None.
        study_uid: StudyInstanceUID.
        frame_of_reference: FrameOfReferenceUID; positions of two series compare within one alone.
        description: SeriesDescription, else ProtocolName.
        modality: Modality.
        sequence: `t1`, `t1c`, `t2`, `flair` or `unknown`, a guess.
        by: What tells the sequence.
        frames: The slices, ordered along the normal (if not refused): the volume's slice k is `frames[k]`.
        affine: (4, 4), voxel (x, y, z, 1) → mm in RAS+; None if refused.
        refusal: Why it makes no volume; None if it does.
        notes: Sentences the user should see.
        beside: What else the folder holds and was skipped, as sentences: a damaged file may be its slice.
    """

    uid: str
    part: str
    patient_id: str
    visit: str | None
    study_uid: str
    frame_of_reference: str
    description: str
    modality: str
    sequence: str
    by: str
    frames: tuple[Frame, ...]
    affine: np.ndarray | None
    refusal: str | None
    notes: tuple[str, ...]
    beside: tuple[str, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """The file of each slice, in the volume's order; of an enhanced object, the same one each time."""
        return tuple(frame.path for frame in self.frames)

    @property
    def grid(self) -> tuple[int, int, int]:
        """(Z, Y, X)."""
        header = self.frames[0].header
        return len(self.frames), int(header["Rows"]), int(header["Columns"])

    @property
    def is_derived(self) -> bool:
        """Whether it was computed from others."""
        return "DERIVED" in self.frames[0].header.get("ImageType", ())

    @property
    def key(self) -> str:
        """Names it alone: its UID, and its part if it has one."""
        return f"{self.uid} {self.part}".strip()

    def __str__(self) -> str:
        first, more = self.files[0].name, " …" * (len(set(self.files)) > 1)
        count = f"{len(self.frames)} slice{'s' * (len(self.frames) != 1)}"
        return f"series {self.description or 'without description'} ({count}, {first}{more}, {self.key})"


def list_series(source: Path | str | Iterable[Path], *, max_parts: int | None = None) -> list[Series]:
    """Lists the series in a folder, at whatever depth, or of files; headers alone are read.

    A series of several echoes, time points or b-values that are complete stacks is listed as its parts.

    Args:
        source: The folder, or the files.
        max_parts: The most parts of all headers, see `CountedFile`; each file has a bound of its own.

    Returns:
        The series, by patient, visit and number.

    Raises:
        MetsegError: There is no DICOM image, or a file cannot be opened. `TooMuch`, which is one: there are
            more than `MOST_FRAMES` images or `max_parts`.
    """
    paths = _paths(source)
    groups, skipped = defaultdict[tuple, list[Frame]](list), defaultdict[str, list[str]](list)
    count = taken = 0
    for path in paths:
        frames, otherwise, parts = read_frames(path)
        count, taken = count + len(frames), taken + parts
        if count > MOST_FRAMES:
            raise TooMuch(f"there are more than {MOST_FRAMES} DICOM images; give one scan's folder")
        if max_parts and taken > max_parts:
            raise TooMuch(f"the DICOM headers have more than {max_parts} parts; give one scan's files alone")
        if otherwise:
            skipped[otherwise].append(path.name)
        for frame in frames:
            names = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")
            groups[tuple(frame.header.get(name, "") for name in names)].append(frame)
    beside = tuple(f"Skipped, {what}: {listed(names)}." for what, names in sorted(skipped.items()))
    if not groups:
        named = source if isinstance(source, str | Path) else "the list of files"
        raise MetsegError(
            f"{named} holds no DICOM image ({' '.join(beside) or 'it is empty'}); give a scan's folder"
        )
    found, left = [], _MOST_COMPARED
    for group in groups.values():
        for part, frames in split(group).items():
            left -= pixels_to_compare(frames)
            found.append(_series(frames, part, beside, group, compare=left >= 0))
    return sorted(
        found,
        key=lambda each: (
            each.patient_id,
            each.visit or "",
            each.frames[0].header.get("SeriesNumber", 0),
            each.key,
        ),
    )


def _paths(source: Path | str | Iterable[Path]) -> list[Path]:
    if not isinstance(source, str | Path):
        return [Path(path) for path in source]
    return files_below(Path(source)) if Path(source).is_dir() else [Path(source)]


def _series(
    frames: list[Frame], part: str, beside: tuple[str, ...], group: list[Frame], *, compare: bool
) -> Series:
    """Makes a series, or a part of it, of frames; `group` are those of all its parts."""
    header, affine, refusal = frames[0].header, None, None
    notes: list[str] = []
    sequence, by = guess_sequence(header)
    text = header.get("SeriesDescription") or header.get("ProtocolName") or ""
    try:
        _complain_of_kind(frames)
        frames, dropped = without_copies(frames, compare=compare)
        frames, affine, more = arrange(frames)
        notes += dropped + more + lacking_at_ends(frames, group)
    except MetsegError as error:
        refusal = str(error)
    if header.get("Modality") != "MR":
        notes.append(f"Its modality is {header.get('Modality', 'not told')}; the networks know MR alone.")
    if any(map(is_negative, frames)):
        notes.append("It is stored as a negative (MONOCHROME1) and was inverted, so that high is bright.")
    if any(frame.header.get("LossyImageCompression") == "01" for frame in frames):
        notes.append("It was compressed with loss.")
    if len({frame.header.get("FrameOfReferenceUID") for frame in frames}) > 1:
        notes.append("Its slices have several frames of reference, so their places may not compare.")
    if part:
        notes.append(f"Its UID holds several stacks; this is {part}.")
    if "PatientID" not in header:
        notes.append("It tells no PatientID.")
    return Series(
        uid=header.get("SeriesInstanceUID", ""),
        part=part,
        patient_id=header.get("PatientID", ""),
        visit=header.get("StudyDate"),
        study_uid=header.get("StudyInstanceUID", ""),
        frame_of_reference=header.get("FrameOfReferenceUID", ""),
        description=text,
        modality=header.get("Modality", ""),
        sequence=sequence,
        by=by,
        frames=tuple(frames),
        affine=affine,
        refusal=refusal,
        notes=tuple(notes),
        beside=beside,
    )


def _complain_of_kind(frames: Sequence[Frame]) -> None:
    """Raises a `MetsegError` for colours, mosaics and scales that make no sense."""
    for frame in frames:
        header = frame.header
        kind = header.get("PhotometricInterpretation", "MONOCHROME2")
        if header["Rows"] * header["Columns"] > _MOST_PIXELS:
            raise MetsegError(f"has more than {_MOST_PIXELS} pixels a slice; export the scanner's own images")
        if header.get("SamplesPerPixel", 1) != 1 or not kind.startswith("MONOCHROME"):
            raise MetsegError(f"is in colour ({kind}), a screenshot or a map; give the scanner's grey images")
        if "MOSAIC" in header.get("ImageType", ()):
            raise MetsegError("is a mosaic, many slices in one picture; export it as single slices")
        slope, intercept = scale(frame)
        if not (0 < abs(slope) < _MOST_SCALE and abs(intercept) < _MOST_SCALE):
            raise MetsegError(f"has a rescale slope of {slope} and intercept of {intercept}; export it again")
