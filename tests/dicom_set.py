"""A small data set of DICOM: studies of three sequences with what was drawn on them."""

from pathlib import Path

import numpy as np
from dicom_files import a_scan, a_series, edit

from metseg.data.own_results import DRAWN_BY
from metseg.data.writers.dicom_seg import Maker, write_seg
from metseg.data.writers.dicom_sources import read_sources
from metseg.data.writers.rtstruct import write_rtstruct

MAKER = Maker(DRAWN_BY, "0", "1")
GRID = (3, 10, 12)
WRITERS = {"seg": write_seg, "rtstruct": write_rtstruct}


def marked(numbers=(1, 2)) -> np.ndarray:
    """A block of 12 voxels for each number, in slices of its own."""
    labels = np.zeros(GRID, np.int32)
    for k, number in enumerate(numbers):
        labels[1 + k, 2:5, 3:7] = number
    return labels


def write_reference(
    t1c: list[Path], target: Path, *, kind="seg", names=("necrosis", "rim"), numbers=(1, 2)
) -> Path:
    """Writes a SEG or an RTSTRUCT of a series."""
    labels, sources = marked(numbers), read_sources(t1c, 2.5)
    WRITERS[kind](labels, a_scan().affine, sources, target, MAKER, names=names)
    return target


def write_study(
    home: Path,
    patient_id: str = "P1",
    *,
    visit="20240115",
    seed=0,
    sequences=("t1", "t1c", "flair"),
    kind="seg",
    **reference,
) -> dict[str, list[Path]]:
    """Writes one study; returns the files of each series, and of the reference if `kind` is one."""
    who = {"patient_id": patient_id, "visit": visit, "seed": seed}
    scan = a_scan(sequences, shape=GRID, seed=sum(map(ord, patient_id)) + seed)
    files = {channel: a_series(home / channel, scan, channel=channel, **who) for channel in sequences}
    if kind:
        files[kind] = [write_reference(files["t1c"], home / f"{kind}.dcm", kind=kind, **reference)]
    return files


def write_set(folder: Path) -> Path:
    """Three patients, the first twice: four studies, the last with an RTSTRUCT."""
    write_study(folder / "a")
    write_study(folder / "b", visit="20240501")
    write_study(folder / "c", "P2")
    write_study(folder / "d", "P3", kind="rtstruct")
    return folder


def edit_all(paths: list[Path], **values) -> None:
    for path in paths:
        edit(path, **values)
