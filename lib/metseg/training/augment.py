"""Pairs in, pairs out: an image and its mask always move together."""

from typing import Literal

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from metseg.data.volume import NEVER_MISSING, SEQUENCES, stand_in

_NOT_OF_SHAPE = (
    *("shift", "gamma", "brightness", "noise"),
    *("modality_dropout", "copy_paste", "neighbour_dropout"),
)


class Augmentation(BaseModel):
    """How far a training pair may be changed; 0 or False leaves a step out.

    Lengths are shares of the side, greys lie in [0, 1]. `copy_paste` is done before `augment_pair`, which
    knows one slice.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    augment: bool = True
    rotation_deg: float = Field(15.0, ge=0, le=180)
    shift: float = Field(0.05, ge=0, le=0.5)
    zoom: float = Field(0.1, ge=0, lt=1)
    flip: bool = True
    gamma: float = Field(0.3, ge=0, le=3)
    brightness: float = Field(0.05, ge=0, le=1)
    noise: float = Field(0.0, ge=0, le=1)
    elastic: float = Field(0.0, ge=0, le=0.2)
    modality_dropout: float = Field(0.0, ge=0, le=1)
    never_missing: Literal["flair", "t1c"] = NEVER_MISSING
    copy_paste: float = Field(0.0, ge=0, le=1)
    neighbour_dropout: float = Field(0.0, ge=0, le=1)

    @property
    def moves(self) -> "Augmentation":
        """What it does to shapes alone, but for their place."""
        return self.model_copy(update=dict.fromkeys(_NOT_OF_SHAPE, 0.0))


def augment_pair(
    image: np.ndarray,
    mask: np.ndarray,
    config: Augmentation,
    rng: np.random.Generator,
    *,
    corner: tuple[int, int] = (0, 0),
    side: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Moves an image with its mask at random, then changes the image's intensities.

    Args:
        image: (S, S, C) float32 in [0, 1], C a multiple of 3: a slice and its neighbours.
        mask: (S, S) bool, or (S, S, T) of several regions.
        config: The ranges.
        rng: Where the randomness comes from.
        corner, side: First row and column of a patch, and its rows and columns, to which both are cut; what
            moves into it comes from around it. The whole slice if left out.
    """
    image = _without_neighbours(image, config, rng)
    x, y = _displacement(side or image.shape[0], config, rng)
    x, y = x + np.float32(corner[1]), y + np.float32(corner[0])
    # Three channels at a time, for OpenCV moves four at most.
    planes = np.split(image, image.shape[2] // 3, axis=2)
    moved = [cv2.remap(part, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT) for part in planes]
    moved_mask = cv2.remap(mask.astype(np.uint8), x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
    image = np.concatenate(moved, axis=2)
    # Missing last: what stands in does so as it is, without a jitter of its own.
    image = _with_missing(_jitter(image, config, rng), config, rng)
    return image, moved_mask.astype(bool)


def augment_patch(
    images: np.ndarray,
    masks: np.ndarray,
    corner: tuple[int, int],
    side: int,
    config: Augmentation,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Cuts a patch out of whole slices, moved in plane and changed in intensity, all slices alike.

    It is not mirrored up and down, for a head has a top.

    Args:
        images: (Z, S, S, 3) uint8.
        masks: (Z, S, S) or (Z, S, S, T) bool.
        corner, side: The patch's first row and column, and its rows and columns.
        config, rng: As for `augment_pair`.

    Returns:
        (Z, side, side, 3) float32 in [0, 1], and masks of that grid.
    """
    x, y = _displacement(side, config, rng)
    at = x + np.float32(corner[1]), y + np.float32(corner[0])
    moved = [cv2.remap(each, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT) for each in images]
    moved_masks = [
        cv2.remap(each.astype(np.uint8), *at, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
        for each in masks
    ]
    below_each_other = np.concatenate(moved).astype(np.float32) / 255
    image = _with_missing(_jitter(below_each_other, config, rng), config, rng)
    shape = len(masks), side, side, *masks.shape[3:]
    return image.reshape(len(images), side, side, 3), np.reshape(moved_masks, shape).astype(bool)


def _without_neighbours(image: np.ndarray, config: Augmentation, rng: np.random.Generator) -> np.ndarray:
    # A number is drawn only where it is needed, here and below: a seed keeps what it gave before.
    if config.neighbour_dropout == 0 or image.shape[2] == 3 or rng.random() >= config.neighbour_dropout:
        return image
    return np.tile(image[..., :3], image.shape[2] // 3)


def _with_missing(image: np.ndarray, config: Augmentation, rng: np.random.Generator) -> np.ndarray:
    if config.modality_dropout == 0:
        return image
    names, image = [*SEQUENCES], image.copy()
    missing = rng.random(len(names)) < config.modality_dropout
    missing[names.index(config.never_missing)] = False
    source = names.index(stand_in([name for name, lost in zip(names, missing, strict=True) if not lost]))
    for channel in np.flatnonzero(missing):
        image[..., channel::3] = image[..., source::3]  # in a slice and its neighbours alike
    return image


def _displacement(size: int, config: Augmentation, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns for each output pixel the x and y of the input pixel it shows, both (S, S) float32."""
    angle = np.deg2rad(rng.uniform(-1, 1) * config.rotation_deg)
    scale = 1 / (1 + rng.uniform(-1, 1) * config.zoom)
    dx, dy = rng.uniform(-1, 1, 2) * config.shift * size
    mirror = -1 if rng.random() < 0.5 and config.flip else 1
    centre = (size - 1) / 2
    u = np.arange(size) - centre
    v = u[:, None]
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    x = (mirror * (cos * u - sin * v) + centre + dx).astype(np.float32)
    y = (sin * u + cos * v + centre + dy).astype(np.float32)
    if config.elastic > 0:
        # Few control points, smoothly enlarged: tissue bends over centimetres, not over pixels.
        for axis in (x, y):
            coarse = rng.normal(0, config.elastic * size, (5, 5)).astype(np.float32)
            axis += cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    return x, y


def _jitter(image: np.ndarray, config: Augmentation, rng: np.random.Generator) -> np.ndarray:
    slices = image.shape[2] // 3  # which a scanner changes alike
    gamma = np.tile(2 ** (rng.uniform(-1, 1, 3) * config.gamma), slices)
    offset = np.tile(rng.uniform(-1, 1, 3) * config.brightness, slices).astype(np.float32)
    noise = rng.normal(0, config.noise, image.shape).astype(np.float32) if config.noise > 0 else 0
    if config.gamma > 0:
        # Images come in 256 steps: a table of powers costs a tenth of a power for each pixel.
        table = (np.linspace(0, 1, 256)[:, None] ** gamma).astype(np.float32)
        image = np.rint(image * 255).astype(np.uint8)
        if config.noise == 0:
            return cv2.LUT(image, np.clip(table + offset, 0, 1)[None])
        image = cv2.LUT(image, table[None])
    return np.clip(image + noise + offset, 0, 1)
