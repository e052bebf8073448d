"""What can be wrong with an image file, told apart so that a service can answer each in its own way."""

import numpy as np

from metseg.base.errors import MetsegError
from metseg.data.volume import SEQUENCES, Volume

MAX_SIDE = 16_384  # px; no slice is longer, and a strip of TIFF may be as short as one row
TRUNCATED = "is truncated; copy it again from its source"
DAMAGED = "is truncated or damaged; copy it again from its source"
ORIENTATION = 274  # the tag of TIFF and of EXIF that says how stored pixels are to be turned
_TURNS = {
    2: "mirrored",
    3: "turned by 180°",
    4: "upside down",
    5: "transposed",
    6: "turned by 90°",
    7: "transposed and turned by 180°",
    8: "turned by 270°",
}


class ImageError(MetsegError):
    """An image file that cannot be used."""


class NotAnImage(ImageError):
    """The content is no TIFF, PNG or JPEG, whatever the name says."""


class DamagedImage(ImageError):
    """The file is an image, but truncated or damaged."""


class UnusablePixels(ImageError):
    """The file is whole, but its pixels are no slice."""


# What the channels of a picture are called, by their number: grey, colours as sequences, and transparency.
_NAMES = {1: ("grey",), 2: ("grey", "alpha"), 3: tuple(SEQUENCES), 4: (*SEQUENCES, "alpha")}


def as_volume(pixels: np.ndarray, spacing_mm: tuple[float, float, float] | None = None) -> Volume:
    """Returns a picture's (H, W) or (H, W, C) pixels, as they are stored, as a volume of one slice."""
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return Volume.of_slice(pixels, _NAMES[pixels.shape[2]], spacing_mm=spacing_mm)


def check_size(name: str, *, width: int, height: int, max_pixels: int) -> None:
    """Raises `UnusablePixels` for a size that is no slice's; it is called before any pixel is decoded."""
    if width < 1 or height < 1:
        raise UnusablePixels(f"{name} is {width} × {height} px, so it has no pixel; export the slice again")
    if width * height > max_pixels or max(width, height) > MAX_SIDE:
        megapixels = f"{max_pixels / 1e6:.3g} megapixels"
        raise UnusablePixels(
            f"{name} is {width} × {height} px; the most is {megapixels} and {MAX_SIDE} px a side, so crop or "
            "shrink it"
        )


def check_orientation(name: str, value: object) -> None:
    """Raises `UnusablePixels` where a file asks to be shown in another way than it is stored.

    Turning it here would not do: whether a mask beside it was drawn on the pixels as stored or as shown, no
    file tells, and a mask written for it would not fit in a program that does not know the tag.

    Args:
        name: What to call the file in an error.
        value: Of its orientation tag: 1 is as stored; None or 0 says nothing.
    """
    if value not in (None, 0, 1):
        turn = _TURNS.get(value, "in a way that no standard knows")
        raise UnusablePixels(
            f"{name} is stored {turn} (orientation tag {value}); save it as it is to be seen, without the "
            "tag, and see that its mask fits"
        )
