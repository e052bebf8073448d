"""Image files become pixels, or one sentence on what is wrong with them."""

import logging
import re
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import tifffile

from metseg.errors import MetsegError

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # of a damaged file `decode` tells in one sentence
CHANNELS = ("pre-contrast", "FLAIR", "post-contrast")
TIFF_SUFFIXES = (".tif", ".tiff")
IMAGE_SUFFIXES = (*TIFF_SUFFIXES, ".png", ".jpg", ".jpeg")


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
