"""Scans and masks on disk, in the layout of the Kaggle LGG set, become cases."""

import os
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metseg.data.images import TIFF_SUFFIXES, checked_image, read_mask, read_pixels
from metseg.errors import MetsegError
from metseg.files import files_below

_SLICE_NAME = re.compile(r"(?P<case>.+)_(?P<slice>\d+)(?P<mask>_mask)?", re.IGNORECASE)
_SCAN_DATE = re.compile(r"_(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])$")


@dataclass(frozen=True, slots=True)
class SliceFiles:
    """One slice's files; a file that is missing is None."""

    slice_index: int
    image: Path | None
    mask: Path | None


@dataclass(frozen=True)
class CaseFiles:
    """One scan's files in slice order."""

    case_id: str
    patient_id: str
    slices: tuple[SliceFiles, ...]


@dataclass(frozen=True)
class Case:
    """One scan with its reference.

    Attributes:
        image: (Z, H, W, 3) uint8, channels as in `CHANNELS`.
        mask: (Z, H, W) bool.
        slice_index: (Z,) the numbers in the files' names.
        spacing_mm: (z, y, x), or None when the files do not tell.
        patient_id: The person; a person may have several cases.
        case_id: The scan.
    """

    image: np.ndarray
    mask: np.ndarray
    slice_index: tuple[int, ...]
    spacing_mm: tuple[float, float, float] | None
    patient_id: str
    case_id: str


def patient_of(case_id: str) -> str:
    """Returns the person of a scan: `TCGA_CS_4941_19960909` is a scan of `TCGA_CS_4941`."""
    return _SCAN_DATE.sub("", case_id)


def slice_of(path: Path) -> tuple[str, int] | None:
    """Returns the scan and the number of a slice's file, `<case>_<slice>.*`, or None for another name."""
    name = _SLICE_NAME.fullmatch(path.stem)
    return None if name is None or name["mask"] else (name["case"], int(name["slice"]))


def list_cases(folder: Path) -> list[CaseFiles]:
    """Lists the scans below a folder, one folder per patient or all files in one, complete or not.

    Raises:
        MetsegError: The folder is missing, holds no slice, or holds one scan twice.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MetsegError(f"{folder} is not a folder; give the one that holds the scans")
    found: dict[str, dict[int, dict[str, Path]]] = defaultdict(lambda: defaultdict(dict))
    home: dict[str, Path] = {}
    for path in files_below(folder):
        stem, suffix = os.path.splitext(path.name)
        name = _SLICE_NAME.fullmatch(stem)
        if suffix.lower() not in TIFF_SUFFIXES or name is None:
            continue
        case_id, lies_in = name["case"], path.parent
        if home.setdefault(case_id, lies_in) != lies_in:
            raise MetsegError(
                f"scan {case_id} lies in {home[case_id]} and in {lies_in}; name the folder of one copy"
            )
        kind = "mask" if name["mask"] else "image"
        slices = found[case_id][int(name["slice"])]
        if kind in slices:
            raise MetsegError(f"{slices[kind]} and {path} are the same slice; remove one of them")
        slices[kind] = path
    if not found:
        raise MetsegError(
            f"{folder} holds no scan; expected files such as <case>_1.tif and <case>_1_mask.tif "
            "(see data/README.md)"
        )
    return [
        CaseFiles(
            case_id,
            patient_of(case_id),
            tuple(SliceFiles(z, f.get("image"), f.get("mask")) for z, f in sorted(slices.items())),
        )
        for case_id, slices in sorted(found.items())
    ]


def find_cases(folder: Path) -> list[CaseFiles]:
    """Lists the scans below a folder, each slice with its image and its mask.

    Raises:
        MetsegError: As in `list_cases`, or a slice lacks its image or its mask.
    """
    cases = list_cases(folder)
    for case in cases:
        for files in case.slices:
            complain_if_incomplete(files)
    return cases


def complain_if_incomplete(files: SliceFiles) -> None:
    """Raises a `MetsegError` that names the missing file of a pair."""
    if files.mask is None:
        missing = files.image.with_name(f"{files.image.stem}_mask{files.image.suffix}")
        raise MetsegError(
            f"{files.image} has no mask; add {missing.name} (all black where there is no lesion)"
        )
    if files.image is None:
        raise MetsegError(f"{files.mask} has no image; add the slice it belongs to or remove it")


def load_case(files: CaseFiles) -> Case:
    """Reads one scan; raises `MetsegError` naming the first file that is wrong."""
    images, masks, spacings = [], [], []
    for each in files.slices:
        complain_if_incomplete(each)
        pixels, spacing = read_pixels(each.image)
        images.append(checked_image(pixels, str(each.image)))
        masks.append(read_mask(each.mask, pixels.shape[:2]))
        spacings.append(spacing)
        if images[-1].shape != images[0].shape:
            raise MetsegError(
                f"{each.image} is {images[-1].shape[:2]} but the first slice of {files.case_id} is "
                f"{images[0].shape[:2]}; export the scan at one size"
            )
    return Case(
        image=np.stack(images),
        mask=np.stack(masks),
        slice_index=tuple(each.slice_index for each in files.slices),
        spacing_mm=spacings[0],
        patient_id=files.patient_id,
        case_id=files.case_id,
    )
