"""The sequences of one scan become one volume as the networks take it: axial, on one grid, 8 bits."""

from collections.abc import Collection, Mapping
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

from metseg.base.errors import MetsegError
from metseg.data.grid import axial_grid, resample_like, same_grid, share_within, to_axial
from metseg.data.readers import nifti, picture_folder
from metseg.data.readers.images import to_8_bits
from metseg.data.volume import SEQUENCES, Labels, Volume, stand_in
from metseg.data.volume_files import SeriesFiles, VolumeFiles

RESCALED = "Grey values were rescaled to 0 … 255, each sequence from its lowest to 99.9 %."
_WHOLE = 0.99  # of a grid; less is told


class Scan(NamedTuple):
    """One scan, ready for the networks.

    Attributes:
        volume: Axial (see `to_axial`), uint8, with the channels of `SEQUENCES`.
        stored: The grid that the files have and results go back to; its voxels are all 0.
        grid_of: The sequence whose grid it is.
        notes: What was changed, guessed or may surprise, as sentences.
        missing: The sequences in whose place another one stands.
    """

    volume: Volume
    stored: Volume
    grid_of: str
    notes: list[str]
    missing: tuple[str, ...] = ()


def read_files(files: VolumeFiles, *, allow_missing: bool = False, partial: bool = False) -> Scan:
    """Reads the sequences of one scan, whatever their files are; see `read_nifti_scan`."""
    missing = {"allow_missing": allow_missing, "partial": partial}
    if not files.is_dicom:
        return read_nifti_scan(files.sequences, files.case_id, **missing)
    from metseg.data.readers.dicom import read_dicom_case  # here, for pydicom takes its time

    found = read_dicom_case(files.image_files, files.series_keys)
    return as_scan(list(found.volumes), files.case_id, list(found.notes), **missing)


def read_nifti_scan(
    sequences: Mapping[str, Path | bytes],
    name: str,
    *,
    allow_missing: bool = False,
    partial: bool = False,
    max_voxels: int = nifti.MAX_VOXELS,
) -> Scan:
    """Reads the sequences of one scan, each a NIfTI file or a folder of numbered pictures.

    Args:
        sequences: {sequence: its file, folder or content}; others than those of `SEQUENCES` are not read.
        name: What to call the scan in an error.
        allow_missing: Let FLAIR, or else t1c, stand in for a sequence that is missing.
        partial: Take the sequences that there are, for a scan that no network is to see.
        max_voxels: The most voxels that one file may have.

    Raises:
        MetsegError: A file is wrong, a sequence is missing, or grids differ and cannot be compared or share
            no place.
    """
    volumes, notes = [], []
    for sequence in SEQUENCES:
        if sequence in sequences:
            file = sequences[sequence]
            called = str(file) if isinstance(file, Path) else f"{sequence} of {name}"
            volume, told = _reader(file).read(file, called, channel=sequence, max_voxels=max_voxels)
            volumes.append(volume)
            notes += [f"{called}: {note}" for note in told]
    if folders := [sequences[each] for each in SEQUENCES if _is_folder(sequences.get(each))]:
        picture_folder.complain_if_unlike(folders)
        notes.append("Pictures tell neither spacing nor orientation: both are unknown, sizes are in voxels.")
    return as_scan(volumes, name, notes, allow_missing=allow_missing, partial=partial)


def as_scan(
    volumes: list[Volume], name: str, notes: list[str], *, allow_missing: bool = False, partial: bool = False
) -> Scan:
    """Brings the sequences of one scan together; see `read_nifti_scan`.

    Args:
        volumes: Each with one or more channels, on its own grid.
        name: What to call the scan in an error.
        notes: Those of reading.
        allow_missing, partial: As there.
    """
    whose = {sequence: each for each in volumes for sequence in each.channels if sequence in SEQUENCES}
    wanted = [sequence for sequence in SEQUENCES if sequence in whose or not (partial and whose)]
    source = stand_in(whose)
    if missing := tuple(sequence for sequence in wanted if sequence not in whose):
        if not allow_missing or not source:
            remedy = "add it"
            if source:
                whom = " for networks that learned so" if "flair" in missing else ""
                remedy += f", or let {source} stand in{whom} (--allow-missing)"
            raise MetsegError(f"{name} has no {', '.join(missing)}; {remedy}")
        notes.append(f"There is no {' and no '.join(missing)}: {source} stands in, so trust the mask less.")
    grid_of = _grid_of(whose)
    reference = whose[grid_of]
    channels: dict[str, np.ndarray] = {}
    for sequence, volume in whose.items():
        place = volume.channels.index(sequence)
        alone = Volume(volume.array[place : place + 1], (sequence,), **_place(volume))
        if not same_grid(alone, reference):
            placed = resample_like(alone, reference)
            notes.append(f"{sequence} lies on another grid and was resampled to that of {grid_of}.")
            if (share := share_within(reference, alone)) == 0:
                raise MetsegError(
                    f"{sequence} of {name} lies nowhere where {grid_of} does; give sequences of one session"
                )
            if share < _WHOLE:
                notes.append(
                    f"{100 * (1 - share):.0f} % of the grid of {grid_of} lie outside {sequence}, which has "
                    "its lowest value there: lesions there may be missed."
                )
            alone = placed
        eight, strange = to_8_bits(alone.array[0])
        if strange == alone.array.size:
            raise MetsegError(f"{sequence} of {name} holds no finite number; export it again")
        if not eight.any():
            notes.append(
                f"{sequence} has one grey value throughout: it shows nothing, so trust the mask less."
            )
        channels[sequence] = eight
        if strange:
            notes.append(
                f"{sequence} has {strange} values that are no number; they were taken as the lowest."
            )
    array = np.stack([channels.get(sequence, channels.get(source)) for sequence in wanted])
    notes.append(RESCALED)
    stored = Volume.of_grid(reference.grid, **_place(reference))
    volume = to_axial(Volume(array, tuple(wanted), **_place(reference)))
    return Scan(volume, stored, grid_of, notes, missing)


def read_reference(
    files: VolumeFiles, grid: Volume | None = None, *, frame_of_reference: str = ""
) -> tuple[Labels, list[str]]:
    """Reads a scan's reference, axial as its volume is; see `nifti.read_labels`.

    Args:
        files: The scan's, and what the reference's numbers mean.
        grid: The `Scan.stored` of the scan, which it must have, in any axis order; read if left out.
        frame_of_reference: The scan's, of DICOM, unless `files` tells it; a SEG or an RTSTRUCT must have the
            same.
    """
    image = files.sequences[_grid_of(files.sequences)] if files.sequences else None
    grid = grid or _reader(image).read_grid(image)
    expected = files.known.union(*files.target.values()) if files.known else None
    if _is_folder(image) and _is_folder(files.reference):
        picture_folder.complain_if_unlike([image, files.reference])
    options = {"regions": {}, "expected": expected}
    if isinstance(files.reference, Path) and is_dicom(files.reference):
        from metseg.data.readers import dicom_masks  # here, for pydicom takes its time

        options["frame_of_reference"] = frame_of_reference or getattr(image, "frame_of_reference", "")
        options["parts"] = [*files.target.values()]
        stored, notes = dicom_masks.read_labels(files.reference, grid, **options)
    else:
        stored, notes = _reader(files.reference).read_labels(files.reference, grid, **options)
    every = frozenset(map(int, stored.stored))
    regions = {name: numbers or every for name, numbers in files.target.items()}
    turned = to_axial(Volume(stored.array[None], ("labels",), **_place(grid))).array[0]
    return Labels(turned, regions, stored=stored.stored), notes


def grid_of_scan(sequences: Mapping[str, Path | SeriesFiles]) -> tuple[int, int, int]:
    """Returns the (Z, Y, X) of the axial scan of these files; a header, or one picture, is read."""
    file = sequences[_grid_of(sequences)]
    if isinstance(file, SeriesFiles):
        return file.grid
    return axial_grid(_reader(file).read_grid(file))


def place_of_scan(sequences: Mapping[str, Path]) -> Volume:
    """Returns the axial grid of these files' scan, with its affine but without voxels; a header is read."""
    file = sequences[_grid_of(sequences)]
    return to_axial(_reader(file).read_grid(file))


def is_dicom(path: Path) -> bool:
    """Returns whether a file is called or begins as DICOM."""
    if path.suffix.lower() == ".dcm":  # an old one begins otherwise
        return True
    try:
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _is_folder(file: Path | bytes | None) -> bool:
    return isinstance(file, Path) and file.is_dir()


def _reader(file: Path | SeriesFiles | bytes) -> ModuleType:
    """Returns the reader of a NIfTI file, of a folder of numbered pictures, or of a DICOM series' grid."""
    if isinstance(file, SeriesFiles):
        from metseg.data.readers import dicom_studies

        return dicom_studies
    return picture_folder if _is_folder(file) else nifti


def _grid_of(sequences: Collection[str]) -> str:
    """Returns the sequence on whose grid the others are brought."""
    return next(sequence for sequence in ("t1c", *SEQUENCES, *sequences) if sequence in sequences)


def _place(volume: Volume) -> dict:
    return {"affine": volume.affine, "spacing_mm": volume.spacing_mm}
