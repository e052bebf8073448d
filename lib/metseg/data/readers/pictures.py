"""PNG and JPEG files become pixels. Sizes are judged before a pixel is decoded."""

import re
import struct
from collections.abc import Iterator
from io import BytesIO
from itertools import islice

import numpy as np
from PIL import Image

from metseg.data.readers.image_errors import ORIENTATION, UnusablePixels, check_orientation, check_size

Image.MAX_IMAGE_PIXELS = None  # sizes are refused here, in words of our own
SUFFIXES = (".png", ".jpg", ".jpeg")
SIGNATURES = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG"}
_PNG_END = b"IEND\xaeB`\x82"
_MAX_SCANS = 32  # of a progressive JPEG; each one costs as much time as a whole picture
_MAX_PIECES = 65_536  # of a file: chunks of a PNG, segments of a JPEG; Pillow takes microseconds for each
_MARKER = re.compile(rb"\xff(?![\0\xd0-\xd7])")
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
        _refuse_many(name, _chunks(data))
        with Image.open(BytesIO(data), formats=[kind]) as picture:
            picture.verify()  # its checksums, which are not looked at when the pixels are read
    elif data.count(b"\xff\xda") > _MAX_SCANS:
        raise UnusablePixels(f"{name} is a JPEG of very many scans; save it again as PNG")
    else:
        _refuse_many(name, _segments(data))
    with Image.open(BytesIO(data), formats=[kind]) as picture:
        check_size(name, width=picture.width, height=picture.height, max_pixels=max_pixels)
        if getattr(picture, "n_frames", 1) > 1:
            raise UnusablePixels(f"{name} has several pages; save each slice as a file of its own")
        if picture.mode not in _MODES:
            raise UnusablePixels(f"{name} is stored as {picture.mode}; save it as RGB")
        picture.load()
        check_orientation(name, picture.getexif().get(ORIENTATION))  # in a PNG it may follow the pixels
        return np.array(picture.convert(_MODES[picture.mode])), None


def _refuse_many(name: str, pieces: Iterator[object]) -> None:
    if next(islice(pieces, _MAX_PIECES, None), None) is not None:
        raise UnusablePixels(f"{name} is in more than {_MAX_PIECES} pieces; save it again as PNG")


def _chunks(data: bytes) -> Iterator[int]:
    """Yields where each chunk of a PNG begins (PNG, 5.3: length, type, data, checksum)."""
    at = 8
    while at + 8 <= len(data):
        yield at
        at += 12 + int.from_bytes(data[at : at + 4])


def _segments(data: bytes) -> Iterator[int]:
    """Yields where each segment of a JPEG begins (ITU T.81, B.1), and every byte that is between two."""
    at, marker = 2, 0
    while at + 4 <= len(data) and marker != 0xDA:
        yield at
        marker = data[at + 1] if data[at] == 0xFF else 0
        # Markers without a length: restart, start of image, end.
        whole = 0xC0 <= marker < 0xFF and not 0xD0 <= marker <= 0xD9
        at += 2 + int.from_bytes(data[at + 2 : at + 4]) if whole else 1
    # From the first scan on, 0xFF begins a marker unless 0, which is data, or a restart follows.
    for found in _MARKER.finditer(data, at):
        yield found.start()
