"""A volume to network input, in training and serving alike: first what its slices share, then each slice."""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from metseg.data.volume import Volume
from metseg.masks.head import Box, head_box
from metseg.preprocessing.intensity import percentile_limits, stretch, tissue_limits
from metseg.preprocessing.neighbours import neighbour_rows, stacked

Intensity = Literal["slice", "volume", "tissue", "stored"]
_OF_VOLUME = {"volume": percentile_limits, "tissue": tissue_limits}


class Preprocessing(BaseModel):
    """Parameters of `preprocess`; they travel with a model, for it knows no other input.

    `intensity` says what becomes 0 and 1: the 1st and 99.5th percentile of each `slice` or of the whole
    `volume`; 0 and 2.5 times the median of the volume's `tissue`; or 0 and 255 as in the file (`stored`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_size: int = Field(128, ge=16, le=1024)  # side of the square network input, px
    clip_limit: float = Field(2.0, ge=0, le=100)  # CLAHE's, on OpenCV's scale; 0 leaves it out
    tile_grid: int = Field(8, ge=1, le=32)  # CLAHE tiles along each side
    intensity: Intensity = "slice"
    crop: bool = False  # to the head's box in the volume, so that the head fills the input
    neighbours: int = Field(0, ge=0, le=3)  # slices above and below that a network sees beside each

    @property
    def channels(self) -> int:
        """Channels of the network's input."""
        return 3 * (1 + 2 * self.neighbours)


class View(NamedTuple):
    """What all slices of a volume share."""

    limits: np.ndarray | None = None  # (C, 2), see `limits_for`; None where each slice has its own, or none
    box: Box | None = None  # rows and columns to cut to; None for all of them
    aspect: float = 1.0  # a pixel's height by its width


WHOLE = View()  # of slices that share nothing


def view_of(volume: Volume, config: Preprocessing) -> View:
    """Finds what the slices of a volume share, as the parameters say."""
    find_limits, images = _OF_VOLUME.get(config.intensity), volume.channels_last
    _, height, width = volume.spacing_mm or (1.0, 1.0, 1.0)
    return View(
        find_limits(images) if find_limits else None,
        head_box(images) if config.crop else None,
        height / width,
    )


def clahe(image: np.ndarray, *, clip_limit: float, tile_grid: int) -> np.ndarray:
    """Equalises each channel of (H, W, C) uint8 tile by tile, with limited contrast; 0 leaves it as it is.

    Reference:
        Zuiderveld 1994, "Contrast Limited Adaptive Histogram Equalization", Graphics Gems IV.
    """
    if clip_limit == 0:
        return image
    equaliser = cv2.createCLAHE(clip_limit, (tile_grid, tile_grid))
    return np.stack([equaliser.apply(np.ascontiguousarray(c)) for c in np.moveaxis(image, -1, 0)], axis=-1)


def clip_count(config: Preprocessing) -> int:
    """Returns how many of a tile's pixels CLAHE lets have one grey value, 0 without CLAHE.

    OpenCV rounds `clip_limit` · pixels of a tile / 256 down, to 1 at least: in small tiles different limits
    are one and the same.
    """
    if config.clip_limit == 0:
        return 0
    tile = math.ceil(config.image_size / config.tile_grid) ** 2
    return max(1, int(config.clip_limit * tile / 256))


def limits_for(image: np.ndarray, config: Preprocessing, view: View) -> np.ndarray | None:
    """Returns what becomes 0 and 1 in a slice, (C, 2), or None where grey values stay as they are."""
    return percentile_limits(image) if config.intensity == "slice" else view.limits


def _place(shape: tuple[int, int], size: int, aspect: float) -> tuple[slice, slice]:
    """Returns where an (H, W) slice lies, centred and in the head's proportions, in a (size, size) square."""
    sides = shape[0] * aspect, shape[1]
    height, width = (max(1, round(n * size / max(sides))) for n in sides)
    top, left = (size - height) // 2, (size - width) // 2
    return slice(top, top + height), slice(left, left + width)


def _fit(image: np.ndarray, size: int, aspect: float) -> np.ndarray:
    rows, columns = _place(image.shape[:2], size, aspect)
    square = np.zeros((size, size, *image.shape[2:]), image.dtype)
    # Area averages when shrinking (no aliasing of thin vessels); it would be blocky when enlarging.
    interpolation = cv2.INTER_AREA if max(image.shape[:2]) > size else cv2.INTER_LINEAR
    size_xy = columns.stop - columns.start, rows.stop - rows.start
    square[rows, columns] = cv2.resize(image, size_xy, interpolation=interpolation)
    return square


def preprocess(image: np.ndarray, config: Preprocessing, view: View = WHOLE) -> np.ndarray:
    """Cuts, resizes, rescales and equalises one slice, (H, W, 3) uint8, by the `view_of` its volume.

    Returns:
        (S, S, 3) float32 in [0, 1], in steps of 1/255, so that an 8-bit cache loses nothing. A slice that
        is not square is centred on black.

    Raises:
        ValueError: The view is not one of these parameters.
    """
    shares = config.intensity in _OF_VOLUME, config.crop
    if (view.limits is not None, view.box is not None) != shares:
        raise ValueError(f"{view} does not go with intensity={config.intensity!r}, crop={config.crop}")
    part = image if view.box is None else image[view.box]
    fitted = _fit(part, config.image_size, view.aspect)
    limits = limits_for(image, config, view)
    fitted = fitted if limits is None else stretch(fitted, limits)
    equalised = clahe(fitted, clip_limit=config.clip_limit, tile_grid=config.tile_grid)
    return equalised.astype(np.float32) / 255


def preprocess_volume(
    volume: Volume, config: Preprocessing, view: View, *, over: Callable = map
) -> np.ndarray:
    """Returns `preprocess` of all slices, (Z, S, S, 3), applied by `over`, such as a thread pool's `map`."""
    return np.stack(list(over(lambda image: preprocess(image, config, view), volume.channels_last)))


def network_input(volume: Volume, config: Preprocessing) -> np.ndarray:
    """Returns a uint8 volume as a network takes it: (Z, S, S, config.channels) float32 in [0, 1]."""
    slices = preprocess_volume(volume, config, view_of(volume, config))
    return stacked(slices, neighbour_rows([len(slices)], config.neighbours))


def network_affine(volume: Volume, config: Preprocessing, view: View) -> np.ndarray | None:
    """Returns the affine of the (Z, S, S) grid that `preprocess` gives, see `Volume`; None if unknown."""
    if volume.affine is None:
        return None
    box, turned = view.box or tuple(slice(0, n) for n in volume.grid[1:]), np.eye(4)
    shape = tuple(part.stop - part.start for part in box)
    for axis, part, n, place in zip(
        (1, 0), box, shape, _place(shape, config.image_size, view.aspect), strict=True
    ):
        step = n / (place.stop - place.start)
        turned[axis, [axis, 3]] = step, part.start + (0.5 - place.start) * step - 0.5
    return volume.affine @ turned


def preprocess_mask(mask: np.ndarray, config: Preprocessing, view: View = WHOLE) -> np.ndarray:
    """Resizes an (H, W) bool mask to (S, S) bool: a pixel is lesion where at least half its area was."""
    part = mask if view.box is None else mask[view.box]
    return _fit(part.astype(np.float32), config.image_size, view.aspect) >= 0.5


def restore(prob_map: np.ndarray, shape: tuple[int, int], view: View = WHOLE) -> np.ndarray:
    """Brings an (S, S) probability map back to its slice's (H, W) grid; beyond the view's box it is 0."""
    restored = np.zeros(shape, np.float32)
    part = restored if view.box is None else restored[view.box]
    seen = np.ascontiguousarray(
        prob_map[_place(part.shape, prob_map.shape[0], view.aspect)], dtype=np.float32
    )
    part[:] = cv2.resize(seen, part.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return restored
