"""The sequences of one scan become one volume as the networks take it: axial, on one grid, 8 bits."""

from collections.abc import Container, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from metseg.base.errors import MetsegError
from metseg.data.grid import axial_grid, resample_like, same_grid, to_axial
from metseg.data.readers import nifti
from metseg.data.readers.images import to_8_bits
from metseg.data.volume import SEQUENCES, Labels, Volume
from metseg.data.volume_files import VolumeFiles

RESCALED = "Grey values were rescaled to 0 … 255, each sequence from its lowest to 99.9 %."
_STAND_IN = "flair"  # for a sequence that is missing, as in the LGG set


class Scan(NamedTuple):
    """One scan, ready for the networks.

    Attributes:
        volume: Axial (see `to_axial`), uint8, with the channels of `SEQUENCES`.
        stored: The grid that the files have and results go back to; its voxels are all 0.
        grid_of: The sequence whose grid it is.
        notes: What was changed, guessed or may surprise, as sentences.
    """

    volume: Volume
    stored: Volume
    grid_of: str
    notes: list[str]


def read_nifti_scan(
    sequences: Mapping[str, Path | bytes],
    name: str,
    *,
    allow_missing: bool = False,
    partial: bool = False,
    max_voxels: int = nifti.MAX_VOXELS,
) -> Scan:
    """Reads the sequences of one scan, each a NIfTI file.

    Args:
        sequences: {sequence: its file or content}; others than those of `SEQUENCES` are not read.
        name: What to call the scan in an error.
        allow_missing: Let FLAIR stand in for a sequence that is missing.
        partial: Take the sequences that there are, for a scan that no network is to see.
        max_voxels: The most voxels that one file may have.

    Raises:
        MetsegError: A file is wrong, a sequence is missing, or grids differ and cannot be compared.
    """
    volumes, notes = [], []
    for sequence in SEQUENCES:
        if sequence in sequences:
            file = sequences[sequence]
            called = str(file) if isinstance(file, Path) else f"{sequence} of {name}"
            volume, told = nifti.read(file, called, channel=sequence, max_voxels=max_voxels)
            volumes.append(volume)
            notes += [f"{called}: {note}" for note in told]
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
    if missing := [sequence for sequence in wanted if sequence not in whose]:
        if not allow_missing or _STAND_IN not in whose:
            remedy = "add it"
            if _STAND_IN not in missing:
                remedy += f"; in metseg predict {_STAND_IN} can stand in (--allow-missing)"
            raise MetsegError(f"{name} has no {', '.join(missing)}; {remedy}")
        notes.append(
            f"There is no {' and no '.join(missing)}: {_STAND_IN} stands in, so trust the mask less."
        )
    grid_of = _grid_of(whose)
    reference = whose[grid_of]
    channels: dict[str, np.ndarray] = {}
    for sequence, volume in whose.items():
        place = volume.channels.index(sequence)
        alone = Volume(volume.array[place : place + 1], (sequence,), **_place(volume))
        if not same_grid(alone, reference):
            alone = resample_like(alone, reference)
            notes.append(f"{sequence} lies on another grid and was resampled to that of {grid_of}.")
        eight, strange = to_8_bits(alone.array[0])
        if strange == alone.array.size:
            raise MetsegError(f"{sequence} of {name} holds no finite number; export it again")
        channels[sequence] = eight
        if strange:
            notes.append(
                f"{sequence} has {strange} values that are no number; they were taken as the lowest."
            )
    array = np.stack([channels.get(sequence, channels.get(_STAND_IN)) for sequence in wanted])
    notes.append(RESCALED)
    stored = Volume.of_grid(reference.grid, **_place(reference))
    return Scan(to_axial(Volume(array, tuple(wanted), **_place(reference))), stored, grid_of, notes)


def read_reference(files: VolumeFiles, grid: Volume | None = None) -> tuple[Labels, list[str]]:
    """Reads a scan's NIfTI reference, axial as its volume is; see `nifti.read_labels`.

    Args:
        files: The scan's, and what the reference's numbers mean.
        grid: The `Scan.stored` of the scan, which it must have, in any axis order; read if left out.
    """
    grid = grid or nifti.read_grid(files.sequences[_grid_of(files.sequences)])
    expected = files.known.union(*files.target.values()) if files.known else None
    stored, notes = nifti.read_labels(files.reference, grid, regions={}, expected=expected)
    every = frozenset(map(int, stored.stored))
    regions = {name: numbers or every for name, numbers in files.target.items()}
    turned = to_axial(Volume(stored.array[None], ("labels",), **_place(grid))).array[0]
    return Labels(turned, regions, stored=stored.stored), notes


def grid_of_scan(sequences: Mapping[str, Path]) -> tuple[int, int, int]:
    """Returns the (Z, Y, X) of the axial scan of these NIfTI files; a header alone is read."""
    return axial_grid(nifti.read_grid(sequences[_grid_of(sequences)]))


def _grid_of(sequences: Container[str]) -> str:
    """Returns the sequence on whose grid the others are brought."""
    return next(sequence for sequence in ("t1c", *SEQUENCES) if sequence in sequences)


def _place(volume: Volume) -> dict:
    return {"affine": volume.affine, "spacing_mm": volume.spacing_mm}
