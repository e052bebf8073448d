"""DICOM series become volumes; see PS3.3 C.7.6.2 (image plane) and C.7.6.16 (enhanced multi-frame)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from metseg.base.errors import MetsegError
from metseg.data.grid import same_grid
from metseg.data.readers.dicom_pixels import padding, read_pixels, scale
from metseg.data.readers.dicom_sequences import SEQUENCES, UNKNOWN
from metseg.data.readers.dicom_series import Series, list_series
from metseg.data.volume import Volume
from metseg.data.volume_files import SeriesFiles

AnySeries = TypeVar("AnySeries", Series, SeriesFiles)
_MAX_VOXELS = 2**28  # 512 × 512 × 1024
_SAME_GRID = 0.05  # of a voxel, at the corners
_FAR = 0.1  # of all other values' range


@dataclass(frozen=True, eq=False)
class DicomCase:
    """The sequences of one person's visit.

    Attributes:
        volumes: One with a channel a sequence where all lie on one grid; else one a grid, t1 first.
        series: {sequence: what was read for it}.
        patient_id: PatientID, "" where there is none.
        visit: StudyDate, YYYYMMDD, or None.
        notes: Sentences the user should see: which series was taken for what and why, and what was left out.
    """

    volumes: tuple[Volume, ...]
    series: Mapping[str, Series]
    patient_id: str
    visit: str | None
    notes: tuple[str, ...]


def read_series(series: Series, *, max_voxels: int = _MAX_VOXELS) -> tuple[Volume, list[str]]:
    """Reads one series.

    Args:
        series: From `list_series`.
        max_voxels: The most voxels; headers are asked, so that nothing of a larger one is decoded.

    Returns:
        Its volume, (1, Z, Y, X), slice k from `series.frames[k]`, and notes. Values are as stored where slope
        is 1 and intercept 0 in all slices, else float32 in the scanner's scale, by each slice's own. Padding
        that is far from all other values becomes the lowest of these.

    Raises:
        MetsegError: It is no volume (gaps, tilt, several orientations, no spacing, …), too large, or a file
            cannot be decoded.
    """
    if series.refusal:
        raise MetsegError(f"{series} {series.refusal}")
    if np.prod(series.grid, dtype=float) > max_voxels:
        raise MetsegError(
            f"{series} has {series.grid} voxels; the most is {max_voxels}, so crop or resample it"
        )
    images, notes = dict(read_pixels(series.frames)), [*series.notes, *series.beside]
    slices = [images.pop(k) for k in range(len(images))]
    fillers, filled = [padding(frame) for frame in series.frames], None
    if any(filler is not None for filler in fillers):
        filled = np.stack([image == filler for image, filler in zip(slices, fillers, strict=True)])
    scales = [scale(frame) for frame in series.frames]
    if any(each != (1, 0) for each in scales):
        slices = [
            image.astype(np.float32) * np.float32(slope) + np.float32(intercept)
            for image, (slope, intercept) in zip(slices, scales, strict=True)
        ]
    array = np.stack(slices)
    if filled is not None and filled.any() and not filled.all():
        notes += _take_padding_as_lowest(array, filled)
    name = series.sequence if series.sequence != UNKNOWN else series.description or UNKNOWN
    return Volume(array[None], (name,), affine=series.affine), notes


def _take_padding_as_lowest(array: np.ndarray, filled: np.ndarray) -> list[str]:
    """Replaces a padding far from all other values, which would leave these one grey; returns notes."""
    low, high = float(array[~filled].min()), float(array[~filled].max())
    lowest, highest = float(array[filled].min()), float(array[filled].max())
    if highest <= high and low - lowest <= _FAR * (high - low):
        return []
    array[filled] = low
    return [f"{int(filled.sum())} of its pixels are padding by its header; they were taken as the lowest."]


def read_dicom_case(
    source: Path | str | Iterable[Path],
    sequences: Mapping[str, str | Path] | None = None,
    *,
    max_voxels: int = _MAX_VOXELS,
    max_parts: int | None = None,
) -> DicomCase:
    """Reads t1, t1c, t2 and flair of one person's visit from a folder.

    Args:
        source: The folder, or files.
        sequences: What is known: {"t1c": a SeriesInstanceUID, a description, or a folder or file of it}; it
            goes before all guesses.
        max_voxels: Of one series; see `read_series`.
        max_parts: Of all headers; see `list_series`.

    Raises:
        MetsegError: The folder holds several people or visits, none of the sequences, or a series that is
            wanted makes no volume.
    """
    found = list_series(source, max_parts=max_parts)
    notes = list(found[0].beside)
    told = {sequence: _told(found, sequence, value) for sequence, value in (sequences or {}).items()}
    _complain_of_choice(told)
    homes = {(series.patient_id, series.study_uid) for series in told.values()}
    # What the user names tells which visit is meant.
    pool = [s for s in found if (s.patient_id, s.study_uid) in homes or (not homes and s.modality == "MR")]
    pool = pool or found
    people = sorted({series.patient_id for series in pool})
    dates = sorted({(series.visit or "no date", series.study_uid) for series in pool})
    if len(people) > 1:
        raise MetsegError(
            f"{source} holds {len(people)} patients ({', '.join(people)}); give the folder of one"
        )
    if len(dates) > 1 and not told:
        days = ", ".join(date for date, _ in dates)
        raise MetsegError(
            f"{source} holds {len(dates)} visits ({days}); give the folder of one or name a series"
        )
    taken, left_out = choose_series(pool, told)
    if len({series.study_uid for series in taken.values()}) > 1:
        notes.append("The sequences are of several visits, as you say.")
    frames_of_reference = {series.frame_of_reference for series in taken.values()}
    volumes: list[Volume] = []
    for sequence, series in taken.items():
        volume, _ = read_series(series, max_voxels=max_voxels)
        notes.append(f"{sequence} is {series}: {series.by if series.sequence == sequence else 'as you say'}.")
        notes += [f"{sequence}: {note}" for note in series.notes]
        volume = Volume(volume.array, (sequence,), affine=volume.affine)
        k = next((k for k, other in enumerate(volumes) if same_grid(other, volume, _SAME_GRID)), None)
        if k is None:
            volumes.append(volume)
        else:
            array = np.concatenate([volumes[k].array, volume.array])
            volumes[k] = Volume(array, (*volumes[k].channels, sequence), affine=volumes[k].affine)
    if len(volumes) > 1:
        grids = "; ".join(f"{', '.join(volume.channels)}: {_shown_grid(volume)}" for volume in volumes)
        notes.append(f"The sequences lie on {len(volumes)} grids ({grids}).")
    if len(frames_of_reference) > 1:
        notes.append(
            "The sequences have different frames of reference, so the head may have moved between them."
        )
    some = next(iter(taken.values()))
    return DicomCase(tuple(volumes), taken, some.patient_id, some.visit, (*notes, *left_out))


def _complain_of_choice(told: Mapping[str, Series]) -> None:
    if unknown := set(told) - set(SEQUENCES):
        raise MetsegError(
            f"there is no sequence {', '.join(sorted(unknown))}; choose of {', '.join(SEQUENCES)}"
        )
    if len(set(told.values())) < len(told):
        raise MetsegError(f"one series was named for several of {', '.join(told)}; name each its own")


def choose_series(
    found: Sequence[AnySeries], told: Mapping[str, AnySeries]
) -> tuple[dict[str, AnySeries], list[str]]:
    """Chooses a series for each sequence.

    Args:
        found: The series of one visit.
        told: What is known, {sequence: series}; it goes before what headers tell.

    Returns:
        {sequence: series}, and a note on each series left out.

    Raises:
        MetsegError: No series tells that it is any of the sequences.
    """
    taken, why = dict(told), {}
    for sequence in SEQUENCES:
        candidates = [s for s in found if s.sequence == sequence and s not in taken.values()]
        usable = [series for series in candidates if not series.refusal] or candidates
        originals = [series for series in usable if not series.is_derived]
        usable = originals if len(originals) == 1 else usable
        if sequence not in taken and len(usable) == 1:
            taken[sequence] = usable[0]
        reason = f"{taken[sequence]} was taken for {sequence}" if sequence in taken else (
            f"{len(usable)} series may be {sequence}, so none was taken; name it by its UID"
        )  # fmt: skip
        why |= {series: reason for series in candidates}
    notes = []
    for series in found:
        if series not in taken.values():
            reason = f"it {series.refusal}" if series.refusal else why.get(series, series.by)
            notes.append(f"Left out was {series}: {reason}.")
    if not taken:
        raise MetsegError(
            f"no series tells that it is {', '.join(SEQUENCES)} ({' '.join(notes)}); name them by UID"
        )
    return {sequence: taken[sequence] for sequence in SEQUENCES if sequence in taken}, notes


def _told(found: list[Series], sequence: str, value: str | Path) -> Series:
    """Returns the one series that a UID, a description, a folder or a file means."""
    text = str(value)
    matching = [series for series in found if text in (series.uid, series.key, series.description)]
    if not matching and (path := Path(value)).exists():
        path = path.resolve()
        matching = [s for s in found if any(f.resolve().is_relative_to(path) for f in s.files)]
    if len(matching) == 1:
        return matching[0]
    those = "; ".join(map(str, matching or found))
    raise MetsegError(
        f"{sequence}={text} means {len(matching)} series; name one of these by its UID: {those}"
    )


def _shown_grid(volume: Volume) -> str:
    mm = " × ".join(f"{step:.3g}" for step in volume.spacing_mm)
    return f"{' × '.join(map(str, volume.grid))} of {mm} mm"
