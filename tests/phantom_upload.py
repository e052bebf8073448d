"""A phantom's scan as a visitor would upload it."""

import functools
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from metseg.data.phantom.dicom import write_dicom_series
from metseg.data.phantom.visits import PhantomVisit, draw_visits
from metseg.data.volume import Volume
from metseg.data.writers.nifti import write_image, write_mask
from metseg.masks.encode import archive

CASE = "P7"
ENDINGS = {"t1": "t1n", "t1c": "t1c", "flair": "t2f"}


@functools.cache
def visit() -> PhantomVisit:
    """One patient, 6 slices of 48 by 48."""
    return draw_visits(3, slices=6, size=48)[0]


def nifti_of(array: np.ndarray, affine: np.ndarray) -> bytes:
    """The content of a .nii.gz file; of labels where the array is uint8."""
    with tempfile.TemporaryDirectory() as folder:
        path, volume = Path(folder, "x.nii.gz"), Volume(array[None], ("grey",), affine=affine)
        if array.dtype == np.uint8:
            write_mask(array, volume, path)
        else:
            write_image(volume, path, durable=False)
        return path.read_bytes()


@functools.cache
def nifti_files() -> Mapping[str, bytes]:
    """{"P7-t1c.nii.gz": its content} of t1, t1c and flair."""
    volume = visit().volume
    return {
        f"{CASE}-{ending}.nii.gz": nifti_of(volume.array[volume.channels.index(name)], volume.affine)
        for name, ending in ENDINGS.items()
    }


@functools.cache
def reference_file() -> bytes:
    """The labels as .nii.gz."""
    return nifti_of(visit().labels, visit().volume.affine)


@functools.cache
def dicom_zip(**header) -> bytes:
    """A ZIP of three series; `header` as of `write_dicom_series`."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ENDINGS:
            write_dicom_series(visit().volume, Path(folder, name), channel=name, header=header)
        paths = sorted(Path(folder).rglob("*.dcm"))
        return archive({path.relative_to(folder).as_posix(): path.read_bytes() for path in paths})
