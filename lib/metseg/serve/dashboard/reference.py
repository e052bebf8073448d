"""A reference mask that a visitor gives, and how a slice's mask compares with it."""

from dataclasses import dataclass

import numpy as np

from metseg.data.readers.images import decode
from metseg.serve.upload import MAX_PIXELS, MAX_UPLOAD_BYTES, Refused, too_large


@dataclass(frozen=True)
class Comparison:
    """Pixels of a mask and its reference.

    Attributes:
        hit: In both.
        extra: In the mask alone.
        missed: In the reference alone.
    """

    hit: int
    extra: int
    missed: int

    @property
    def slice_dice(self) -> float | None:
        """2 · hit / (mask + reference) of this slice; None where both are empty: it means nothing there."""
        total = 2 * self.hit + self.extra + self.missed
        return 2 * self.hit / total if total else None


def compare(mask: np.ndarray, reference: np.ndarray) -> Comparison:
    """Counts where an (H, W) bool mask and its reference agree."""
    parts = mask & reference, mask & ~reference, reference & ~mask
    return Comparison(*(int(np.count_nonzero(part)) for part in parts))


def read_reference(data: bytes, name: str, shape: tuple[int, int]) -> np.ndarray:
    """Reads a reference mask.

    Args:
        data: A TIFF, PNG or JPEG file: 0 is background, one other value is lesion.
        name: What to call it in an error.
        shape: (H, W) of the slice it belongs to.

    Returns:
        (H, W) bool.

    Raises:
        MetsegError: It is no image, of another size than the slice, or has more than two values.
    """
    if len(data) > MAX_UPLOAD_BYTES:
        raise too_large(name)
    stored = decode(data, name, max_pixels=MAX_PIXELS).array[:, 0]
    pixels = stored[0]
    values = np.unique(pixels)
    fault = None
    if len(stored) > 1 and not (stored[:3] == pixels).all():  # but for grey, saved as colours
        fault = "has colours; save the mask with one channel, 0 and 255 only"
    elif pixels.shape != shape:
        (height, width), (rows, columns) = pixels.shape, shape
        fault = f"is {width} × {height} px but the slice is {columns} × {rows}; export both at one size"
    elif len(values) > 2 or (len(values) == 2 and values[0] != 0) or not np.isfinite(values).all():
        fault = f"has {len(values)} grey values; save the mask with 0 and 255 only"
    if fault:
        raise Refused("unusable_pixels", f"{name} {fault}")
    return pixels > 0
