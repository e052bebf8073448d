"""What the tests of DICOM results share: a series with lesions at known places, and a validator."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from dicom_files import OBLIQUE, a_scan, a_series
from pydicom import Dataset

from metseg.data.writers.dicom_seg import Maker
from metseg.data.writers.dicom_sources import read_sources

MADE_BY = Maker("U-Net++ on EfficientNet-Lite0", "0123456789abcdef" * 4, "0.2.0")
GRID = 5, 12, 14


def several() -> np.ndarray:
    """A lesion of two slices with a hole, one in a row, and one voxel in a corner."""
    labels = np.zeros(GRID, np.int32)
    labels[1:3, 2:7, 3:9] = 1
    labels[1, 4, 5] = 0
    labels[3, 8, 2:5] = 2
    labels[4, 0, 0] = 3
    return labels


def one() -> np.ndarray:
    return np.where(several() == 2, 1, 0)


def many() -> np.ndarray:
    """300 lesions of a voxel each, more than 8 bits can number."""
    labels = np.zeros(GRID, np.int32)
    labels.ravel()[:600:2] = np.arange(1, 301)
    return labels


def sources_of(folder: Path, *, enhanced: bool = False, grid: tuple = GRID) -> list[Dataset]:
    """An oblique series on a grid, as the writers take it."""
    paths = a_series(folder, a_scan(shape=grid, affine=OBLIQUE), enhanced=enhanced)
    return read_sources(paths, np.linalg.norm(OBLIQUE[:3, 2]))


def places_of(labels: np.ndarray) -> dict[int, np.ndarray]:
    """Centroids in mm RAS+, computed by hand from OBLIQUE."""
    return {
        number: OBLIQUE[:3, :3] @ np.argwhere(labels == number).mean(axis=0)[::-1] + OBLIQUE[:3, 3]
        for number in range(1, labels.max() + 1)
    }


def complaints_of_dciodvfy(path: Path) -> list[str]:
    """What David Clunie's validator calls an error."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed")
    done = subprocess.run(["dciodvfy", path], capture_output=True)
    told = (done.stdout + done.stderr).decode(errors="replace")  # names come as they are stored
    return [line for line in told.splitlines() if line.startswith("Error")]
