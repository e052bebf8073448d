"""Raw pixels to network input: the one function that training and serving both call.

Every step works on one slice at a time, so that a single uploaded slice is treated exactly as the
slices of a training volume were. Only `intensity="volume"` looks further, and asks for the limits.
"""

from typing import Literal

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

Intensity = Literal["slice", "volume", "stored"]
_EXACT = 2**24  # pixels that OpenCV counts exactly, for it counts in float32


class Preprocessing(BaseModel):
    """Parameters of `preprocess`; they travel with a model, for it knows no other input.

    Attributes:
        image_size: Side of the square network input, px.
        clip_limit: CLAHE's contrast limit on OpenCV's scale; 0 leaves CLAHE out.
        tile_grid: CLAHE tiles along each side.
        intensity: Where the 1st and 99.5th percentile come from that become 0 and 1: each `slice`,
            the whole `volume`, or nowhere (`stored`: 0 to 255 as in the file).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_size: int = Field(128, ge=16, le=1024)
    clip_limit: float = Field(2.0, ge=0, le=100)
    tile_grid: int = Field(8, ge=1, le=32)
    intensity: Intensity = "slice"


def intensity_limits(image: np.ndarray) -> np.ndarray:
    """Returns the 1st and 99.5th percentile of each channel's non-zero pixels.

    Args:
        image: (…, C) uint8: a slice or a volume.

    Returns:
        (C, 2) float32; (0, 255) for a channel that is black.
    """
    pixels = np.ascontiguousarray(image).reshape(-1, 1, image.shape[-1])
    histograms = np.zeros((image.shape[-1], 256))
    for start in range(0, len(pixels), _EXACT):
        part = pixels[start : start + _EXACT]
        for channel, histogram in enumerate(histograms):
            histogram += cv2.calcHist([part], [channel], None, [256], [0, 256]).ravel()
    limits = np.tile(np.float32([0, 255]), (image.shape[-1], 1))
    for channel, row in enumerate(limits):
        # A histogram of 256 bins gives exact percentiles of 8-bit pixels without sorting a volume.
        counts = histograms[channel, 1:].cumsum()
        if counts[-1] > 0:
            row[:] = 1 + np.searchsorted(counts, counts[-1] * np.array([0.01, 0.995]))
    return limits


def stretch(image: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Makes each channel's lower limit 0 and its upper limit 255; what lies beyond them is clipped.

    Args:
        image: (…, C) uint8.
        limits: (C, 2), as `intensity_limits` returns them.
    """
    low, high = limits.T
    scale = 255 / np.maximum(high - low, 1)
    grey = np.arange(256, dtype=np.uint8)[:, None]
    table = np.clip(np.rint((grey - low) * scale), 0, 255).astype(np.uint8)
    return cv2.LUT(image.reshape(-1, 1, image.shape[-1]), table[None]).reshape(image.shape)


def clahe(image: np.ndarray, *, clip_limit: float, tile_grid: int) -> np.ndarray:
    """Equalises each channel's histogram tile by tile, with limited contrast.

    Args:
        image: (H, W, C) uint8.
        clip_limit: Contrast limit on OpenCV's scale; 0 returns the image as it is.
        tile_grid: Tiles along each side.

    Reference:
        Zuiderveld 1994, "Contrast Limited Adaptive Histogram Equalization", Graphics Gems IV.
    """
    if clip_limit == 0:
        return image
    equaliser = cv2.createCLAHE(clip_limit, (tile_grid, tile_grid))
    return np.stack([equaliser.apply(np.ascontiguousarray(c)) for c in np.moveaxis(image, -1, 0)], axis=-1)


def _box(shape: tuple[int, int], size: int) -> tuple[slice, slice]:
    """Returns where an (H, W) slice lies, centred and in proportion, in a (size, size) square."""
    height, width = (max(1, round(n * size / max(shape))) for n in shape)
    top, left = (size - height) // 2, (size - width) // 2
    return slice(top, top + height), slice(left, left + width)


def _fit(image: np.ndarray, size: int, interpolation: int) -> np.ndarray:
    rows, columns = _box(image.shape[:2], size)
    square = np.zeros((size, size, *image.shape[2:]), image.dtype)
    square[rows, columns] = cv2.resize(
        image, (columns.stop - columns.start, rows.stop - rows.start), interpolation=interpolation
    )
    return square


def volume_limits(volume: np.ndarray, config: Preprocessing) -> np.ndarray | None:
    """Returns the limits that all slices of a volume share, (C, 2), or None where each has its own or none.

    Args:
        volume: (Z, H, W, C) uint8; a slice (H, W, C) that comes without its volume stands for it.
        config: Says by `intensity` whose percentiles count.
    """
    return intensity_limits(volume) if config.intensity == "volume" else None


def preprocess(image: np.ndarray, config: Preprocessing, *, limits: np.ndarray | None = None) -> np.ndarray:
    """Resizes, rescales and equalises one slice.

    Args:
        image: (H, W, 3) uint8.
        config: The parameters.
        limits: (3, 2), `volume_limits` of the volume.

    Returns:
        (S, S, 3) float32 in [0, 1], in steps of 1/255, so that an 8-bit cache loses nothing. A slice that
        is not square is centred on black.

    Raises:
        ValueError: The limits of the volume are missing or not wanted.
    """
    if (limits is not None) != (config.intensity == "volume"):
        raise ValueError(f"limits={limits} does not go with intensity={config.intensity!r}")
    # Area averages when shrinking (no aliasing of thin vessels); it would be blocky when enlarging.
    shrinks = max(image.shape[:2]) > config.image_size
    fitted = _fit(image, config.image_size, cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    if config.intensity != "stored":
        fitted = stretch(fitted, intensity_limits(image) if limits is None else limits)
    equalised = clahe(fitted, clip_limit=config.clip_limit, tile_grid=config.tile_grid)
    return equalised.astype(np.float32) / 255


def preprocess_mask(mask: np.ndarray, config: Preprocessing) -> np.ndarray:
    """Resizes an (H, W) bool mask to (S, S) bool: a pixel is lesion where at least half its area was."""
    size = config.image_size
    interpolation = cv2.INTER_AREA if max(mask.shape) > size else cv2.INTER_LINEAR
    return _fit(mask.astype(np.float32), size, interpolation) >= 0.5


def restore(prob_map: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Brings an (S, S) probability map back to the grid of the (H, W) slice it was predicted from."""
    rows, columns = _box(shape, prob_map.shape[0])
    part = np.ascontiguousarray(prob_map[rows, columns], dtype=np.float32)
    return cv2.resize(part, shape[::-1], interpolation=cv2.INTER_LINEAR)
