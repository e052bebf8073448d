"""PNG and JPEG files become pixels. Sizes are judged before a pixel is decoded."""

import struct
from io import BytesIO

import numpy as np
from PIL import Image

from metseg.data.readers.image_errors import ORIENTATION, UnusablePixels, check_orientation, check_size

Image.MAX_IMAGE_PIXELS = None  # sizes are refused here, in words of our own
SUFFIXES = (".png", ".jpg", ".jpeg")
SIGNATURES = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG"}
_PNG_END = b"IEND\xaeB`\x82"
_MAX_SCANS = 64  # of a progressive JPEG; each one costs as much time as a whole picture
# Pillow's modes, and the ones that their pixels are given in.
_MODES = {"1": "L", "L": "L", "I;16": "I;16", "LA": "RGBA", "P": "RGB", "RGB": "RGB", "RGBA": "RGBA"}


def read(data: bytes, name: str, *, max_pixels: int) -> tuple[np.ndarray, None]:
    """Returns pixels and no spacing, see `images`."""
    kind = next(kind for start, kind in SIGNATURES.items() if data.startswith(start))
    if kind == "PNG":
        width, height, bits, colours = struct.unpack_from(">IIBB", data, 16)
        check_size(name, width=width, height=height, max_pixels=max_pixels)
        if bits == 16 and colours != 0:  # Pillow would keep the upper 8 bits and say nothing
            raise UnusablePixels(f"{name} has 16 bits a channel; rescale it to 8 bits and save it again")
        if _PNG_END not in data:
            raise ValueError("no end")
        with Image.open(BytesIO(data), formats=[kind]) as picture:
            picture.verify()  # its checksums, which are not looked at when the pixels are read
    elif data.count(b"\xff\xda") > _MAX_SCANS:
        raise UnusablePixels(f"{name} is a JPEG of very many scans; save it again as PNG")
    with Image.open(BytesIO(data), formats=[kind]) as picture:
        check_size(name, width=picture.width, height=picture.height, max_pixels=max_pixels)
        if getattr(picture, "n_frames", 1) > 1:
            raise UnusablePixels(f"{name} has several pages; save each slice as a file of its own")
        if picture.mode not in _MODES:
            raise UnusablePixels(f"{name} is stored as {picture.mode}; save it as RGB")
        picture.load()
        check_orientation(name, picture.getexif().get(ORIENTATION))  # in a PNG it may follow the pixels
        return np.array(picture.convert(_MODES[picture.mode])), None
