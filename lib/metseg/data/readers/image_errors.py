"""What can be wrong with an image file, told apart so that a service can answer each in its own way."""

from metseg.base.errors import MetsegError

MAX_SIDE = 16_384  # px; no slice is longer, and a strip of TIFF may be as short as one row
ORIENTATION = 274  # the tag of TIFF and of EXIF that says how stored pixels are to be turned


class ImageError(MetsegError):
    """An image file that cannot be used; `code` says why, for programs."""

    code: str


class NotAnImage(ImageError):
    """The content is no TIFF, PNG or JPEG, whatever the name says."""

    code = "not_an_image"


class DamagedImage(ImageError):
    """The file is an image, but truncated or damaged."""

    code = "truncated"


class UnusablePixels(ImageError):
    """The file is whole, but its pixels are no slice."""

    code = "unusable_pixels"


def check_size(name: str, *, width: int, height: int, max_pixels: int) -> None:
    """Raises `UnusablePixels` for a size that is no slice's; it is called before any pixel is decoded."""
    if width < 1 or height < 1:
        raise UnusablePixels(f"{name} is {width} × {height} px, so it has no pixel; export the slice again")
    if width * height > max_pixels or max(width, height) > MAX_SIDE:
        most = f"{max_pixels / 1e6:.3g} megapixels and {MAX_SIDE} px a side"
        raise UnusablePixels(f"{name} is {width} × {height} px; the most is {most}, so crop or shrink it")


def check_orientation(name: str, value: object) -> None:
    """Raises `UnusablePixels` where a file's orientation tag asks to be shown otherwise than it is stored.

    Turning it would not do: no file tells whether its mask was drawn on the pixels as stored or as shown.
    """
    if value not in (None, 0, 1):
        remedy = "save it as it is to be seen, without the tag, and see that its mask fits"
        raise UnusablePixels(f"{name} is stored turned or mirrored (orientation tag {value}); {remedy}")
