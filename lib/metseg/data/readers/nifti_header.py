"""What a NIfTI header says of size, kind and place of its voxels, and where it contradicts itself.

Reference: NIfTI-1 and -2, https://nifti.nimh.nih.gov, nifti1.h: "3D image (volume) orientation and
location in space". nibabel takes the sform if it is coded; ITK 5 if its code is 1 or the qform has none, else
the qform, and the spacing by pixdim always. Where that makes a difference, it is said.
"""

from typing import TYPE_CHECKING

import numpy as np

from metseg.data.grid import grid_corners, largest_shear_cosine
from metseg.data.readers.image_errors import DamagedImage, NotAnImage, UnusablePixels

if TYPE_CHECKING:
    from nibabel import Nifti1Header

HEADER_BYTES = 540  # of NIfTI-2; NIfTI-1 takes 348 of them
MAX_OFFSET = 2**26  # bytes before the voxels; extensions are some kB
_SIZES = {348: "Nifti1Header", 540: "Nifti2Header"}
_MM = {1: 1000.0, 2: 1.0, 3: 0.001}  # of a metre, a millimetre, a micrometre, by their code in xyzt_units
_MAX_SHEAR = 1e-3  # |cos| between two axes; scanners' rounding is below it
_FLAT = 1e-3  # volume of the box between the axes' unit vectors: 1 if perpendicular, 0 if in one plane
_HALF_VOXEL = 0.5


def parse_header(head: bytes, name: str) -> "Nifti1Header":
    """Returns the header that a file's first `HEADER_BYTES` hold, in the file's byte order.

    Raises:
        NotAnImage: It is none, or one of Analyze 7.5.
        UnusablePixels: Its voxels are in another file, are no real numbers, or not of one volume.
    """
    import nibabel

    for order, endianness in (("little", "<"), ("big", ">")):
        size = int.from_bytes(head[:4], order)
        if size in _SIZES and len(head) >= size:
            header = getattr(nibabel, _SIZES[size])(head[:size], endianness, check=False)
            break
    else:
        raise NotAnImage(f"{name} is no NIfTI file or is truncated; expected .nii or .nii.gz")
    magic = header["magic"].item()[:3]
    if magic in (b"ni1", b"ni2"):
        raise UnusablePixels(
            f"{name} is a header whose voxels lie in an .img file; save both as one .nii file"
        )
    if magic not in (b"n+1", b"n+2"):
        raise NotAnImage(
            f"{name} is an Analyze file or a damaged NIfTI: nothing in it tells left from right; "
            "convert the scanner's DICOM files again"
        )
    _check_kind(header, name)
    return header


def _check_kind(header: "Nifti1Header", name: str) -> None:
    """Raises `UnusablePixels` unless the voxels are real numbers of one volume."""
    from nibabel.nifti1 import data_type_codes

    code, dim = int(header["datatype"]), [int(n) for n in header["dim"]]
    if not 1 <= dim[0] <= 7 or min(dim[1 : dim[0] + 1]) < 1:
        raise UnusablePixels(f"{name} has no valid size in its header (dim is {dim}); export it again")
    if np.prod(dim[4 : dim[0] + 1], dtype=object) > 1:
        size = " × ".join(map(str, dim[1 : dim[0] + 1]))
        raise UnusablePixels(
            f"{name} holds several volumes ({size}); save the one to use as a file of its own"
        )
    known = code in data_type_codes.dtype
    dtype, label = (data_type_codes.dtype[code], data_type_codes.label[code]) if known else (None, code)
    if not known or dtype.kind not in "iuf" or not 1 <= dtype.itemsize <= 8:
        kind = {"c": "complex numbers; save the magnitude", "V": "colours; save the grey sequence"}
        what = kind.get(dtype.kind if known else "", f"datatype {label}; save it as int16 or float32")
        raise UnusablePixels(f"{name} holds {what}")


def grid_of(header: "Nifti1Header") -> tuple[int, int, int]:
    """Returns (Z, Y, X)."""
    dim = [int(n) for n in header["dim"]]
    return tuple((dim[1 : dim[0] + 1] + [1, 1])[:3][::-1])


def data_offset(header: "Nifti1Header", name: str) -> int:
    """Returns at which byte the voxels begin, or raises `DamagedImage`."""
    least = int(header["sizeof_hdr"]) + 4
    offset = float(header["vox_offset"])
    if offset == 0:
        return least
    if not least <= offset <= MAX_OFFSET or offset != int(offset):
        raise DamagedImage(
            f"{name} says its voxels begin at byte {offset:g}; the header is damaged, export again"
        )
    return int(offset)


def place_of(header: "Nifti1Header", name: str) -> tuple[np.ndarray | None, tuple | None, list[str]]:
    """Returns where the voxels lie.

    The sform is taken if its code is above 0, else the qform.

    Returns:
        Affine, voxel (x, y, z, 1) → mm in RAS+, or None where neither is given; then the spacing in mm
        (z, y, x) by pixdim, None if that is not positive; and a sentence on each thing that may surprise.

    Raises:
        UnusablePixels: The form to take is damaged.
    """
    unit, notes = int(header["xyzt_units"]) & 7, []
    if unit not in _MM:
        notes.append("It does not tell its unit of length; mm was assumed.")
    elif unit != 2:
        notes.append(
            f"Its lengths are in {'metres' if unit == 1 else 'micrometres'} and were converted to mm."
        )
    to_mm = np.diag([_MM.get(unit, 1.0)] * 3 + [1.0])
    pixdim = np.array(header["pixdim"][1:4], float)
    forms = {}
    if header["sform_code"] > 0:
        forms["sform"] = np.array(header.get_sform(), float)
    if header["qform_code"] > 0:
        forms["qform"] = _qform(header)
    damaged = [form for form, affine in forms.items() if not _is_invertible(affine)]
    if damaged and damaged[0] == next(iter(forms)):
        raise UnusablePixels(
            f"{name} has a damaged {damaged[0]} (not invertible, or pixdim or quaternion not valid), so that "
            "no voxel has a place; convert the scanner's files again, or repair the header"
        )
    positive = bool((np.isfinite(pixdim) & (pixdim > 0)).all())
    if not forms:
        notes.append(
            "Its orientation is unknown (the codes of sform and qform are 0): "
            "left and right cannot be told, nor places in mm."
        )
        if not positive:
            notes.append(f"Its spacing is unknown (pixdim is {_listed(pixdim)}).")
        return None, tuple((to_mm[0, 0] * pixdim)[::-1].tolist()) if positive else None, notes
    form = next(iter(forms))
    affine = forms.pop(form)
    notes += [f"Its {each} is damaged; the {form} was taken." for each in damaged]
    corners, inverse = grid_corners(grid_of(header)), np.linalg.inv(affine)
    for other in forms.keys() - damaged:
        apart = np.abs(corners @ (inverse @ forms[other] - np.eye(4)).T).max()
        if apart > _HALF_VOXEL:
            apart_mm = np.linalg.norm((corners @ (to_mm @ (forms[other] - affine)).T)[:, :3], axis=1).max()
            notes.append(
                f"Its {form} and {other} put a corner {apart_mm:.1f} mm apart; the {form} was taken, but "
                f"programs on ITK (3D Slicer, ITK-SNAP) may take the {other}."
            )
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if not positive or (np.abs(spacing - pixdim) * corners.max(axis=0)[:3] > _HALF_VOXEL * spacing).any():
        notes.append(
            f"Its spacing is {_listed(spacing)} by the {form}, which was taken, "
            f"but {_listed(pixdim)} by pixdim."
        )
    if (shear := largest_shear_cosine(affine)) > _MAX_SHEAR:
        angle = np.degrees(np.arccos(shear))
        notes.append(
            f"Its axes are not perpendicular (the smallest angle is {angle:.2f}°): the grid is sheared."
        )
    return to_mm @ affine, None, notes


def _qform(header: "Nifti1Header") -> np.ndarray | None:
    """Returns the qform, None if it is damaged."""
    from nibabel.spatialimages import HeaderDataError

    header = header.copy()
    if header["pixdim"][0] not in (-1, 1):
        header["pixdim"][0] = 1  # as nifti1.h says
    try:
        return header.get_qform()
    except (HeaderDataError, ValueError):
        return None


def _is_invertible(affine: np.ndarray | None) -> bool:
    if affine is None or not np.isfinite(affine).all():
        return False
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    return bool(lengths.all()) and abs(np.linalg.det(affine[:3, :3] / lengths)) > _FLAT


def _listed(numbers: np.ndarray) -> str:
    return " × ".join(f"{number:.5g}" for number in numbers)
