"""A data set of volumes in the layout of BraTS-METS that a tiny network learns in seconds."""

from pathlib import Path

import numpy as np

from metseg.data.volume import Volume
from metseg.data.writers.nifti import write_image, write_mask

KINDS = {"t1n": "t1", "t1c": "t1c", "t2f": "flair"}
SPACING_MM = (3.0, 1.0, 2.0)  # z, y, x
VISITS = (2, 1, 2, 1, 2, 1)  # of each patient


def write_volumes(
    folder: Path,
    *,
    grid: tuple[int, int, int] = (3, 32, 32),
    seed: int = 0,
    brighter: tuple[int, int, int] = (1200, 1200, 1200),
) -> Path:
    """Writes BraTS-MET-00001-000, …: a core (1) in enhancing tumour (3) in oedema (2) in all slices but one.

    The axes are those of a coronal acquisition, so that the axial grid is another than the file's. Labels 1,
    2 and 3 are `brighter` than the rest.
    """
    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[: grid[0], : grid[1], : grid[2]]
    for patient, visits in enumerate(VISITS, start=1):
        for visit in range(visits):
            case_id = f"BraTS-MET-{patient:05d}-{visit:03d}"
            row, column = rng.integers(grid[1] // 4, 3 * grid[1] // 4, 2)
            square = (y - row) ** 2 + (x - column) ** 2
            labels = np.select([square <= 4, square <= 16, square <= 36], [1, 3, 2]) * (z < grid[0] - 1)
            (folder / case_id).mkdir(parents=True)
            for number, (kind, sequence) in enumerate(KINDS.items()):
                pixels = rng.integers(300, 800, grid, dtype=np.int16) + number
                pixels = pixels + np.take((0, *brighter), labels)
                write_image(_coronal(pixels, sequence), folder / case_id / f"{case_id}-{kind}.nii.gz")
            reference = _coronal(labels.astype(np.uint8), "labels")
            write_mask(reference.array[0], reference, folder / case_id / f"{case_id}-seg.nii.gz")
    return folder


def _coronal(axial: np.ndarray, name: str) -> Volume:
    """Returns (Z, Y, X) pixels of the axial display as (Y, Z, X), with the affine that says so."""
    depth_mm, row_mm, column_mm = SPACING_MM
    affine = np.array([[-column_mm, 0, 0, 30], [0, 0, -row_mm, 20], [0, depth_mm, 0, -10], [0, 0, 0, 1.0]])
    return Volume(np.ascontiguousarray(axial.transpose(1, 0, 2))[None], (name,), affine=affine)
