"""TIFF files of one page become pixels. Sizes are judged before a pixel is decoded.

tifffile knows the private tags of many programs, and some of these make it ask for memory without end. So the
directory is read here first, and tifffile sees only the tags that say how the pixels are stored.
"""

import logging
import math
import re
import struct
from io import BytesIO
from typing import NamedTuple

import numpy as np
import tifffile
from tifffile import COMPRESSION, PHOTOMETRIC, RESUNIT

from metseg.data.readers.image_errors import ORIENTATION, UnusablePixels, check_orientation, check_size

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # of a damaged file the caller tells in one sentence
SUFFIXES = (".tif", ".tiff")
SIGNATURES = dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "TIFF")
_MAX_TAGS, _MAX_VALUES = 4096, 65_536
# The codecs whose output tifffile bounds by the size of the strip.
_CODECS = {COMPRESSION[name] for name in ("NONE", "LZW", "ADOBE_DEFLATE", "DEFLATE", "PACKBITS")}
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _FORMAT = 256, 257, 258, 259, 262, 277, 339
_STRIP_OFFSETS, _STRIP_BYTES = 273, 279
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES = range(322, 326)
_DESCRIPTION, _X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT, _DEPTH = 270, 282, 283, 296, 32997
# Those of size, bits, codec and colours, of strips and tiles, of fill order, planes, predictor and alpha.
_PIXEL_TAGS = {*range(256, 260), 262, 266, 273, *range(277, 280), 284, 317, *range(322, 326), 338, 339}
_OTHER_TAGS = {ORIENTATION, _DESCRIPTION, _X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT, _DEPTH}
_FORMATS = {1: "B", 2: "c", 3: "H", 4: "I", 5: "II", 16: "Q"}  # of one value: byte, letter, short, …


def read(data: bytes, name: str, *, max_pixels: int) -> tuple[np.ndarray, tuple[float, ...] | None]:
    """Returns pixels and spacing, see `images`."""
    directory = _read_directory(data)
    _check(directory, data, name, max_pixels)
    with tifffile.TiffFile(BytesIO(_bare_file(directory, data))) as tif:
        page = tif.pages[0]
        if math.prod(page.chunked) > len(page.dataoffsets):  # tifffile would paint the missing ones black
            raise ValueError("strips are missing")
        pixels = page.asarray(maxworkers=1)
        return np.moveaxis(pixels, 0, -1) if page.axes == "SYX" else pixels, _spacing_mm(directory)


class _Directory(NamedTuple):
    """A file's first directory."""

    order: str  # of bytes, as `struct` spells it
    big: bool  # whether offsets have 8 bytes (BigTIFF)
    entries: dict[int, bytes]  # as stored, of the tags that pixels depend on
    values: dict[int, tuple]  # of these tags and of those that tell orientation, spacing and planes
    following: int  # where the next directory is; 0 for none

    def number(self, tag: int, default: int) -> int:
        return self.values.get(tag, (default,))[0]


def _read_directory(data: bytes) -> _Directory:
    order, big = "<" if data[:1] == b"I" else ">", b"+" in data[2:4]
    offset, number, head = ("Q", "Q", "HHQ") if big else ("I", "H", "HHI")
    at = struct.unpack_from(order + offset, data, 8 if big else 4)[0]
    tags = struct.unpack_from(order + number, data, at)[0]
    at += struct.calcsize(order + number)
    if tags > _MAX_TAGS:
        raise ValueError(f"{tags} tags")
    inline = struct.calcsize(offset)  # a value of so few bytes lies in the entry itself
    size = struct.calcsize(order + head) + inline
    entries, values = {}, {}
    for place in range(at, at + size * tags, size):
        tag, kind, count = struct.unpack_from(order + head, data, place)
        if tag in values or tag not in _PIXEL_TAGS | _OTHER_TAGS:
            continue
        if kind not in _FORMATS or not 1 <= count <= _MAX_VALUES:
            if tag in _PIXEL_TAGS or tag == ORIENTATION:
                raise ValueError(f"tag {tag} has {count} values of type {kind}")
            continue
        layout = order + _FORMATS[kind] * count
        where = place + size - inline
        if struct.calcsize(layout) > inline:
            where = struct.unpack_from(order + offset, data, where)[0]
        values[tag] = struct.unpack_from(layout, data, where)
        if tag in _PIXEL_TAGS:
            entries[tag] = data[place : place + size]
    following = struct.unpack_from(order + offset, data, at + size * tags)[0]
    return _Directory(order, big, entries, values, following)


def _check(directory: _Directory, data: bytes, name: str, max_pixels: int) -> None:
    """Raises an error for a file that is truncated, or that no slice would be stored as."""
    number, values = directory.number, directory.values
    if directory.following or number(_DEPTH, 1) > 1:
        raise UnusablePixels(f"{name} has several pages; save each slice as a file of its own")
    width, height = values[_WIDTH][0], values[_HEIGHT][0]
    check_size(name, width=width, height=height, max_pixels=max_pixels)
    check_orientation(name, number(ORIENTATION, 1))
    samples, photometric, codec = number(_SAMPLES, 1), number(_PHOTOMETRIC, 1), number(_COMPRESSION, 1)
    if photometric not in (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.RGB):
        raise UnusablePixels(f"{name} is stored as {PHOTOMETRIC(photometric).name}; save it as RGB or grey")
    if not 1 <= samples <= 4:
        raise UnusablePixels(f"{name} has {samples} channels; save it with 1 or 3")
    if codec not in _CODECS:
        kind = COMPRESSION(codec).name
        raise UnusablePixels(f"{name} is compressed by {kind}; save it with LZW, deflate or uncompressed")
    bits = values.get(_BITS, (1,))
    if not 1 <= min(bits) <= max(bits) <= 64 or not set(values.get(_FORMAT, (1,))) <= {1, 2, 3, 4}:
        raise UnusablePixels(f"{name} holds numbers of an unusual kind; save it with 8 or 16 bits")
    if _TILE_WIDTH in values:
        tile_width, tile_height = values[_TILE_WIDTH][0], values[_TILE_HEIGHT][0]
        padded = math.ceil(width / tile_width) * math.ceil(height / tile_height) * tile_width * tile_height
        if padded > 4 * max_pixels:
            raise UnusablePixels(f"{name} has tiles of {tile_width} × {tile_height} px; save it without")
    offsets = values.get(_TILE_OFFSETS) or values[_STRIP_OFFSETS]
    sizes = values.get(_TILE_BYTES) or values[_STRIP_BYTES]
    end = max(offset + size for offset, size in zip(offsets, sizes, strict=True))
    if 0 in sizes or max(end, sum(sizes)) > len(data):  # strips that overlap would be read over and over
        raise ValueError("strips lie beyond the end or overlap")


def _bare_file(directory: _Directory, data: bytes) -> bytes:
    """Returns the file with a directory at its end that has nothing but the tags that pixels depend on."""
    start, offset, number = (8, "Q", "Q") if directory.big else (4, "I", "H")
    header = data[:start] + struct.pack(directory.order + offset, len(data))
    entries = [directory.entries[tag] for tag in sorted(directory.entries)]
    count = struct.pack(directory.order + number, len(entries))
    return b"".join((header, data[len(header) :], count, *entries, bytes(struct.calcsize(offset))))


def _spacing_mm(directory: _Directory) -> tuple[float, float, float] | None:
    description = b"".join(part for part in directory.values.get(_DESCRIPTION, ()) if isinstance(part, bytes))
    slice_mm = re.search(rb"spacing_mm=(\d+(?:\.\d+)?)(?![\d.])", description)
    x, y = (directory.values.get(tag, (0, 1)) for tag in (_X_RESOLUTION, _Y_RESOLUTION))  # px a cm, fractions
    if slice_mm is None or directory.number(_RESOLUTION_UNIT, 2) != RESUNIT.CENTIMETER or 0 in (*x, *y):
        return None
    return float(slice_mm[1]), 10 * y[1] / y[0], 10 * x[1] / x[0]
