"""A mask of one slice as a TIFF file, and how a mask of ours is told from a reference."""

from io import BytesIO
from pathlib import Path

import numpy as np
import tifffile

from metseg.base.files import replacing
from metseg.masks.encode import mask_tiff

_SOFTWARE = "metseg predict"  # the TIFF tag by which it is told


def write_mask(mask: np.ndarray, target: Path) -> None:
    """Writes an (H, W) bool mask as a TIFF: uint8, 0 or 255."""
    with replacing(target) as partial:
        partial.write_bytes(mask_tiff(mask, software=_SOFTWARE))


def is_ours(path: Path | bytes) -> bool:
    """Returns whether `write_mask` wrote a file, or its content."""
    try:
        with tifffile.TiffFile(BytesIO(path) if isinstance(path, bytes) else path) as tif:
            return tif.pages[0].software == _SOFTWARE
    except (tifffile.TiffFileError, OSError, IndexError):
        return False
