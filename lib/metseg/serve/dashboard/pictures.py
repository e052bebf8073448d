"""What the dashboard shows of a slice, as arrays and as PNG files for the page."""

import cv2
import numpy as np

from metseg.data.volume import CHANNELS, Volume
from metseg.masks.encode import encode_png, overlay
from metseg.preprocessing.intensity import stretch
from metseg.preprocessing.pipeline import Preprocessing, clahe, limits_for, view_of

ALL_CHANNELS = "colour"
# Okabe & Ito's; the page's legend has the same. Stripes tell them apart where colour does not.
HIT, EXTRA, MISSED = "#009E73", "#F0A000", "#56B4E9"
_SHOWN_PX = 1024  # longest side of a picture in the page; files to keep are never shrunk
_STRIPES = 48  # along a side
_HEAT = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_INFERNO)[:, 0, ::-1]


def channel_picture(image: np.ndarray, channel: str) -> np.ndarray:
    """Returns one channel of an (H, W, 3) uint8 slice as (H, W), or all three as colours for "colour"."""
    return image if channel == ALL_CHANNELS else image[..., CHANNELS.index(channel)]


def windowed(picture: np.ndarray, window: float, level: float) -> np.ndarray:
    """Returns a uint8 picture with `window` grey values around `level` spread from black to white."""
    values = np.arange(256, dtype=np.float64)
    shades = np.clip((values - level) * (255 / window) + 127.5, 0, 255)
    return np.rint(shades).astype(np.uint8)[picture]


def clahe_picture(image: np.ndarray, channel: str, config: Preprocessing) -> np.ndarray:
    """Returns a channel with the contrast that a network's input gets, at the slice's own size.

    The limits of a volume are unknown here, so the slice's own stand in for them.
    """
    limits = limits_for(image, config, view_of(Volume.of_slice(image), config))
    stretched = image if limits is None else stretch(image, limits)
    equalised = clahe(stretched, clip_limit=config.clip_limit, tile_grid=config.tile_grid)
    return channel_picture(equalised, channel)


def heat_picture(values: np.ndarray) -> np.ndarray:
    """Returns an (H, W) map of 0 to 1 as (H, W, 3) uint8, from black through red to pale yellow."""
    return _HEAT[np.rint(values * 255).astype(np.uint8)]


def gate_picture(image: np.ndarray, gate: np.ndarray) -> np.ndarray:
    """Returns a slice under what a gate lets pass: dark where it is shut."""
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    low, high = float(gate.min()), float(gate.max())
    open_share = (gate - low) / max(high - low, 1e-6)
    heat = heat_picture(open_share).astype(np.float32)
    return np.rint(0.35 * grey[..., None] + 0.65 * heat).astype(np.uint8)


def comparison_picture(
    image: np.ndarray, mask: np.ndarray, reference: np.ndarray, *, opacity: float
) -> np.ndarray:
    """Tints what a mask and a reference share, what only the mask has, and what only the reference has.

    The first is plain; the others are striped, each in a direction of its own.

    Args:
        image: (H, W) or (H, W, 3) uint8.
        mask: (H, W) bool.
        reference: (H, W) bool.
        opacity: Of the tint.

    Returns:
        (H, W, 3) uint8.
    """
    rows, columns = np.indices(mask.shape)
    width = max(2, max(mask.shape) // (2 * _STRIPES))
    up, down = (rows + columns) // width % 2 == 0, (rows - columns) // width % 2 == 0
    shown = overlay(image, mask & reference, opacity=opacity, colour=HIT)
    for part, stripes, colour in ((mask & ~reference, up, EXTRA), (reference & ~mask, down, MISSED)):
        shown = overlay(shown, part, opacity=0.25 * opacity, colour=colour)
        ink = np.frombuffer(bytes.fromhex(colour[1:]), np.uint8)
        striped = (1 - opacity) * shown[part & stripes] + opacity * ink.astype(np.float32)
        shown[part & stripes] = np.rint(striped)
    return shown


def outlines(numbers: np.ndarray, most: int) -> list[list[list[int]]]:
    """Returns the outer borders of lesion 1, 2, … up to `most`, each as [[x, y, x, y, …], …], px."""
    count = min(most, int(numbers.max()))
    found: list[list[list[int]]] = [[] for _ in range(count)]
    listed = ((numbers > 0) & (numbers <= count)).astype(np.uint8)
    # Two levels: borders of parts, which have no parent, and of holes. A lesion in a hole is a part as well.
    borders, hierarchy = cv2.findContours(listed, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    for k, border in enumerate(borders):
        if hierarchy[0, k, 3] == -1:
            x, y = border[0, 0]
            found[numbers[y, x] - 1].append(border.ravel().tolist())
    return found


def for_page(picture: np.ndarray) -> bytes:
    """Returns a picture as a PNG file no larger than a page shows it."""
    scale = _SHOWN_PX / max(picture.shape[:2])
    if scale < 1:
        size = tuple(max(1, round(n * scale)) for n in picture.shape[1::-1])
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return encode_png(picture)
