"""What can be wrong with an image file, told apart so that a service can answer each in its own way."""

from metseg.errors import MetsegError

MAX_SIDE = 16_384  # px; no slice is longer, and a strip of TIFF may be as short as one row
TRUNCATED = "is truncated; copy it again from its source"
DAMAGED = "is truncated or damaged; copy it again from its source"


class ImageError(MetsegError):
    """An image file that cannot be used."""


class NotAnImage(ImageError):
    """The content is no TIFF, PNG or JPEG, whatever the name says."""


class DamagedImage(ImageError):
    """The file is an image, but truncated or damaged."""


class UnusablePixels(ImageError):
    """The file is whole, but its pixels are no slice."""


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
