"""How metseg's own results are told from what somebody drew.

A result is no reference: a network would be scored against itself. And it may overwrite nothing but a result.
"""

import hashlib
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np

from metseg.base.errors import MetsegError
from metseg.base.files import shown
from metseg.data.readers.nifti import SUFFIXES, read, read_header

DRAWN_BY = "phantom"  # in the place of a network, in references that metseg drew
_MAKER = "metseg"
_TIFF = (b"II*\0", b"MM\0*")
_WHOLE = 1e-3  # a label that was saved with a slope is whole within this


def nifti_mark(array: np.ndarray) -> bytes:
    """Returns what the header of a NIfTI result tells: who wrote it, and the digest of these voxels.

    That is of their values, whatever type programs save them in again: whole numbers, or float32.
    """
    whole = np.rint(array)
    is_whole = array.dtype.kind != "f" or np.abs(array - whole).max(initial=0) < _WHOLE
    content = np.ascontiguousarray(whole.astype("<u2") if is_whole else array.astype("<f4"))
    return f"{_MAKER} {hashlib.sha256(content).hexdigest()[:32]}".encode()


def is_result(path: Path | bytes) -> bool:
    """Returns whether metseg wrote a file (NIfTI, DICOM, TIFF) as a result, and NIfTI is as it was written.

    Who corrects a NIfTI mask changes its voxels, and makes it a reference. Programs that correct the others
    write files of their own. Of NIfTI and TIFF it may be the content.
    """
    with suppress(MetsegError):
        is_tiff = path[:4] in _TIFF if isinstance(path, bytes) else path.suffix.lower() in (".tif", ".tiff")
        if is_tiff:
            from metseg.data.writers.tiff_masks import is_ours

            return is_ours(path)
        if isinstance(path, bytes) or path.name.lower().endswith(SUFFIXES):
            told = read_header(path)["descrip"].tobytes().rstrip(b"\0")
            return told.startswith(_MAKER.encode()) and told == nifti_mark(read(path)[0].array[0])
        return _is_dicom_result(path)
    return False


def complain_if_result(path: Path | bytes, name: str = "") -> None:
    """Raises a `MetsegError` if a reference is a result; its content goes by a name."""
    if is_result(path):
        raise MetsegError(
            f"{name or shown(path)} is a mask that metseg wrote, no reference: a network would be scored "
            "against itself; move it away, or correct it"
        )


def complain_if_not_result(path: Path) -> None:
    """Raises a `MetsegError` if a file lies there that is no result, or was changed since."""
    if path.exists() and not is_result(path):
        raise MetsegError(
            f"{shown(path)} lies there already and is no result as metseg wrote it: it may be a reference; "
            "choose another output, or move it away"
        )


def _is_dicom_result(path: Path) -> bool:
    from metseg.data.readers.dicom_headers import read_bounded  # here, for pydicom takes its time

    tags = ["Manufacturer", "ManufacturerModelName"]
    with suppress(Exception), warnings.catch_warnings():  # whatever pydicom stumbles over
        warnings.simplefilter("ignore")
        file = read_bounded(path, stop_before_pixels=True, specific_tags=tags)
        return file.get("Manufacturer") == _MAKER and file.get("ManufacturerModelName") != DRAWN_BY
    return False
