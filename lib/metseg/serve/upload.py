"""What a visitor uploads becomes a slice or a reference mask, or one sentence and the code of what is wrong.

The service and the dashboard both read uploads here. Content alone decides: neither the file's name nor the
type that the sender gives is looked at.
"""

from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from metseg.base.errors import MetsegError
from metseg.data.readers.image_errors import UnusablePixels
from metseg.data.readers.images import as_slice, decode, kind_of
from metseg.data.volume import Volume
from metseg.inference.trust import Untrusted

MAX_UPLOAD_BYTES = 16 * 2**20  # 4 megapixels of RGB at 8 bits are 12 MB uncompressed
MAX_PIXELS = 4_000_000  # 2000 × 2000; scanners give 512 × 512 and less


@dataclass(frozen=True)
class Upload:
    """One uploaded slice.

    Attributes:
        volume: The slice, uint8.
        notes: A sentence for each thing that was changed to make a slice of the file.
        kind: "TIFF", "PNG" or "JPEG".
        sha256: Of the file.
    """

    volume: Volume
    notes: tuple[str, ...]
    kind: str
    sha256: str

    @property
    def image(self) -> np.ndarray:
        """(H, W, 3) uint8; channels pre-contrast, FLAIR, post-contrast."""
        return self.volume.channels_last[0]

    @property
    def spacing_mm(self) -> tuple[float, float, float] | None:
        """Voxel size (z, y, x) in mm, or None where the file does not tell."""
        return self.volume.spacing_mm


class Refused(MetsegError):
    """Something that a visitor sent and that cannot be used; its text is one sentence for him.

    Attributes:
        code: What is wrong, for programs; an `ImageError` has one too.
    """

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code


def too_large(name: str = "The file") -> Refused:
    """Returns the error of a file above `MAX_UPLOAD_BYTES`, for those who notice before they have read it."""
    limit = f"{MAX_UPLOAD_BYTES // 2**20} MB"
    return Refused("too_large", f"{name} is larger than {limit}; export a single slice, or shrink it")


def untrusted(error: Untrusted) -> Refused:
    """Returns the error of a scan unlike those of the training, for a visitor, who has fields, no options."""
    return Refused("unlike_training", str(error).replace("--trust-anyway", "trust_anyway"))


def read_upload(data: bytes, name: str = "The file") -> Upload:
    """Reads one uploaded slice, called `name` in an error; raises `Refused` or `ImageError` if it is none."""
    volume, notes = as_slice(_decoded(data, name), name)
    return Upload(volume, tuple(notes), kind_of(data), sha256(data).hexdigest())


def read_reference(data: bytes, name: str, shape: tuple[int, int]) -> np.ndarray:
    """Reads a reference mask.

    Args:
        data: A TIFF, PNG or JPEG file: 0 is background, one other value is lesion.
        name: What to call it in an error.
        shape: (H, W) of the slice it belongs to.

    Returns:
        (H, W) bool.

    Raises:
        Refused: It is too large.
        ImageError: It is no image, of another size than the slice, or has more than two values.
    """
    stored = _decoded(data, name).array[:, 0]
    pixels = stored[0]
    values = np.unique(pixels)
    if len(stored) > 1 and not (stored[:3] == pixels).all():  # but for grey, saved as colours
        fault = "has colours; save the mask with one channel, 0 and 255 only"
    elif pixels.shape != shape:
        (height, width), (rows, columns) = pixels.shape, shape
        fault = f"is {width} × {height} px but the slice is {columns} × {rows}; export both at one size"
    elif len(values) > 2 or (len(values) == 2 and values[0] != 0) or not np.isfinite(values).all():
        fault = f"has {len(values)} grey values; save the mask with 0 and 255 only"
    else:
        return pixels > 0
    raise UnusablePixels(f"{name} {fault}")


def _decoded(data: bytes, name: str) -> Volume:
    if len(data) > MAX_UPLOAD_BYTES:
        raise too_large(name)
    return decode(data, name, max_pixels=MAX_PIXELS)
