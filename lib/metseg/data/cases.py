"""Scans and masks on disk, in the layout of the Kaggle LGG set, become cases."""

import logging
import re
from collections import defaultdict
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import tifffile

from metseg.errors import MetsegError

CHANNELS = ("pre-contrast", "FLAIR", "post-contrast")
_SLICE_NAME = re.compile(r"(?P<case>.+)_(?P<slice>\d+)(?P<mask>_mask)?", re.IGNORECASE)
_SCAN_DATE = re.compile(r"_\d{8}$")
_TIFF = (".tif", ".tiff")
IMAGE_SUFFIXES = (*_TIFF, ".png", ".jpg", ".jpeg")
logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # of a damaged file `decode` tells in one sentence


@dataclass(frozen=True)
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
    for path in sorted(folder.rglob("*")):
        name = _SLICE_NAME.fullmatch(path.stem)
        if path.suffix.lower() not in _TIFF or name is None or path.name.startswith("."):
            continue
        case_id = name["case"]
        if home.setdefault(case_id, path.parent) != path.parent:
            raise MetsegError(
                f"scan {case_id} lies in {home[case_id]} and in {path.parent}; name the folder of one copy"
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


def decode(data: bytes, name: str) -> tuple[np.ndarray, tuple[float, float, float] | None]:
    """Decodes one image file.

    Args:
        data: The file's content: TIFF, PNG or JPEG.
        name: What to call it in an error.

    Returns:
        Its pixels as stored, and (z, y, x) spacing in mm where a TIFF gives it.

    Raises:
        MetsegError: The file is truncated, no image, or has several pages.
    """
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        try:
            with tifffile.TiffFile(BytesIO(data)) as tif:
                if len(tif.pages) > 1:
                    raise MetsegError(
                        f"{name} has {len(tif.pages)} pages; save each slice as a file of its own"
                    )
                # A cut before the directory of pages leaves none; a cut behind it leaves too few bytes.
                page = tif.pages[0] if tif.pages else None
                parts = () if page is None else zip(page.dataoffsets, page.databytecounts, strict=True)
                if max((offset + n for offset, n in parts), default=len(data) + 1) > len(data):
                    raise MetsegError(f"{name} is truncated; copy it again from its source")
                if page.photometric in (tifffile.PHOTOMETRIC.MINISWHITE, tifffile.PHOTOMETRIC.PALETTE):
                    raise MetsegError(
                        f"{name} is stored as {page.photometric.name}; save an image as RGB, a mask as grey"
                    )
                pixels = page.asarray()
                return np.moveaxis(pixels, 0, -1) if page.axes == "SYX" else pixels, _spacing_mm(page)
        except MetsegError:
            raise
        except Exception as error:  # tifffile and its codecs raise many kinds on damaged files
            raise MetsegError(
                f"{name} cannot be read as TIFF ({error}); copy it again from its source"
            ) from error
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # nothing in the file, or more than 2**30 pixels claimed
        pixels = None
    if pixels is None:
        raise MetsegError(f"{name} is no image or is truncated; expected TIFF, PNG or JPEG")
    if pixels.ndim == 3 and pixels.shape[2] == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    return pixels, None


def _spacing_mm(page: tifffile.TiffPage) -> tuple[float, float, float] | None:
    slice_mm = re.search(r"spacing_mm=(\d+(?:\.\d+)?)(?![\d.])", page.description)
    y, x = (page.tags.valueof(tag, (0, 1)) for tag in ("YResolution", "XResolution"))  # px a cm, as fractions
    unit = page.tags.valueof("ResolutionUnit")
    if slice_mm is None or unit != tifffile.RESUNIT.CENTIMETER or 0 in (*x, *y):
        return None
    return float(slice_mm[1]), 10 * y[1] / y[0], 10 * x[1] / x[0]


def checked_image(pixels: np.ndarray, name: str) -> np.ndarray:
    """Returns an image the networks can read, or says what is wrong with it.

    Raises:
        MetsegError: It is not (H, W, 3) uint8.
    """
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        raise MetsegError(f"{name} has 4 channels; drop the alpha channel and keep {', '.join(CHANNELS)}")
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        shape = "1 channel" if pixels.ndim == 2 else f"shape {pixels.shape}"
        raise MetsegError(f"{name} has {shape}; expected 3 channels: {', '.join(CHANNELS)}")
    if pixels.dtype != np.uint8:
        raise MetsegError(
            f"{name} is {pixels.dtype}; rescale it to 8 bits (uint8, 0 to 255) and save it again"
        )
    return pixels


def read_pixels(path: Path) -> tuple[np.ndarray, tuple[float, float, float] | None]:
    """Reads one image file; see `decode`."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise MetsegError(
            f"{path} cannot be opened ({error.strerror or error}); check its name and permissions"
        ) from error
    return decode(data, str(path))


def read_image(path: Path) -> np.ndarray:
    """Reads one slice as (H, W, 3) uint8; raises `MetsegError` on anything else."""
    return checked_image(read_pixels(path)[0], str(path))


def read_mask(path: Path, shape: tuple[int, int] | None) -> np.ndarray:
    """Reads one reference mask as (H, W) bool.

    Args:
        path: The mask's file.
        shape: (H, W) of its image; None where that could not be read.

    Raises:
        MetsegError: It is of another size than its image, has channels, or more than two values.
    """
    pixels, _ = read_pixels(path)
    if pixels.ndim != 2:
        raise MetsegError(f"{path} has shape {pixels.shape}; save the mask with one channel, 0 and 255 only")
    if shape is not None and pixels.shape != shape:
        raise MetsegError(f"{path} is {pixels.shape} but its image is {shape}; export both at one size")
    values = np.unique(pixels)
    if len(values) > 2 or (len(values) == 2 and values[0] != 0) or not np.isfinite(values).all():
        raise MetsegError(f"{path} has {len(values)} grey values; save the mask with 0 and 255 only")
    return pixels > 0


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
