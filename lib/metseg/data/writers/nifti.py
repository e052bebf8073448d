"""Masks, maps and images as NIfTI files on their input's grid, each read back before it gets its name."""

import gzip
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from metseg.base.errors import MetsegError
from metseg.base.files import replacing
from metseg.data.grid import largest_shear_cosine, same_grid
from metseg.data.own_results import complain_if_not_result, nifti_mark
from metseg.data.readers.nifti import read, read_header
from metseg.data.readers.nifti_header import grid_of, place_of
from metseg.data.volume import Volume

if TYPE_CHECKING:
    from nibabel import Nifti1Header

_SCANNER = 1  # NIFTI_XFORM_SCANNER_ANAT: mm of the scanner, as a `Volume`'s are
_MAX_SHEAR = 1e-3  # |cos| between two axes; a qform cannot tell a shear
_SAME = 0.01  # voxels; a header's numbers are float32
_UNSET = {"descrip", "aux_file", "db_name", "intent_name"}  # may name the patient; NIfTI-2 has fewer


def write_mask(
    mask: np.ndarray,
    volume: Volume,
    path: Path,
    *,
    source: Path | bytes | None = None,
    is_result: bool = False,
) -> None:
    """Writes a mask, uint8.

    Args:
        mask: (Z, Y, X) bool, or labels from 0 to 255.
        volume: The input, on whose grid it is.
        path: The file, .nii or .nii.gz; it appears whole or not at all.
        source: The NIfTI file (or its content) that the volume was read from, whose header is taken: sform
            and qform with their codes, units. Its texts are not, they may name the patient. None to make a
            header of the volume's affine.
        is_result: It is a network's, and is marked as such (`own_results`).

    Raises:
        MetsegError: It cannot be written, the source is on another grid, what is read back is not what was
            written, or a result would overwrite what is none.
        ValueError: The mask has another shape than the volume, or holds other numbers.
    """
    if mask.dtype.kind not in "bui" or mask.min() < 0 or mask.max() > 255:
        values = f"{mask.dtype} from {mask.min()} to {mask.max()}"
        raise ValueError(f"mask is {values}; give bool, or labels from 0 to 255")
    _write(mask.astype(np.uint8), volume, path, source, is_result=is_result)


def write_probabilities(
    prob_map: np.ndarray, volume: Volume, path: Path, *, source: Path | bytes | None = None
) -> None:
    """Writes a (Z, Y, X) map of probabilities, float32; otherwise as `write_mask` writes a result."""
    if not (prob_map.min() >= 0 and prob_map.max() <= 1):  # NaN is neither
        raise ValueError(f"prob_map goes from {prob_map.min()} to {prob_map.max()}; give 0 to 1")
    _write(prob_map.astype(np.float32), volume, path, source, is_result=True)


def write_image(volume: Volume, path: Path, *, durable: bool = True) -> None:
    """Writes a volume of one channel in its own dtype; otherwise as `write_mask`."""
    if len(volume.channels) != 1:
        raise ValueError(f"volume has the channels {volume.channels}; give one at a time")
    _write(volume.array[0], volume, path, None, durable=durable)


def _write(
    array: np.ndarray,
    volume: Volume,
    path: Path,
    source: Path | bytes | None,
    *,
    is_result: bool = False,
    durable: bool = True,
) -> None:
    if array.shape != volume.grid:
        raise ValueError(f"array is {array.shape} but its volume is {volume.grid}")
    if not str(path).endswith((".nii", ".nii.gz")):
        raise MetsegError(f"{path} would be a NIfTI file; let its name end in .nii or .nii.gz")
    if is_result:
        complain_if_not_result(path)
    header = _header_of(volume) if source is None else _header_from(source, volume)
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape[::-1])
    header.set_slope_inter(1, 0)
    for name in _UNSET.intersection(header.keys()):
        header[name] = b""
    if is_result:
        header["descrip"] = nifti_mark(array)
    header["intent_code"] = header["cal_min"] = header["cal_max"] = 0
    header["magic"], header["vox_offset"] = header.single_magic, header.single_vox_offset
    # Four zeros say that no extension follows. The array's last axis, x, is the file's fastest.
    head = header.as_byteswapped("<").binaryblock + bytes(4)
    content = head + array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    with replacing(path, durable=durable) as partial:
        zipped = str(path).endswith(".gz")
        partial.write_bytes(gzip.compress(content, 6, mtime=0) if zipped else content)
        _check(partial, array, volume, path)


def _header_of(volume: Volume) -> "Nifti1Header":
    """Returns a header with a volume's affine as both forms; as neither, if it has none."""
    from nibabel import Nifti1Header

    header = Nifti1Header(endianness="<")
    header.set_data_shape(volume.grid[::-1])
    header.set_xyzt_units("mm" if volume.spacing_mm else "unknown")
    header.set_zooms((volume.spacing_mm or (1, 1, 1))[::-1])
    if volume.affine is not None:
        header.set_sform(volume.affine, _SCANNER)
        if largest_shear_cosine(volume.affine) <= _MAX_SHEAR:
            header.set_qform(volume.affine, _SCANNER)
    return header


def _header_from(source: Path | bytes, volume: Volume) -> "Nifti1Header":
    """Returns the header of the file that a volume was read from."""
    name = "the input" if isinstance(source, bytes) else str(source)
    header = read_header(source, name)
    affine, spacing_mm, _ = place_of(header, name)
    if not _lies_as(volume, grid_of(header), affine, spacing_mm):
        raise MetsegError(
            f"{name} is not on the grid of what is to be written; give the file that was segmented"
        )
    return header


def _lies_as(volume: Volume, grid: tuple, affine: np.ndarray | None, spacing_mm: tuple | None) -> bool:
    empty = np.broadcast_to(np.uint8(0), (1, *grid))  # takes no memory
    return same_grid(Volume(empty, ("grey",), affine=affine, spacing_mm=spacing_mm), volume, _SAME)


def _check(written: Path, array: np.ndarray, volume: Volume, path: Path) -> None:
    """Raises a `MetsegError` unless a file holds what it should."""
    found, _ = read(written, str(path))
    if found.array.dtype != array.dtype or not np.array_equal(found.array[0], array, equal_nan=True):
        raise MetsegError(f"{path} was not written: its voxels read back are not the same; try another disk")
    if not _lies_as(volume, found.grid, found.affine, found.spacing_mm):
        raise MetsegError(f"{path} was not written: a NIfTI header cannot hold its grid; export it to DICOM")
