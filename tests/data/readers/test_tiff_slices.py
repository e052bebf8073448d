"""TIFF files that were made to do harm, or are cut or damaged, are refused before they cost anything."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import tifffile

from metseg.data.readers.image_errors import MAX_SIDE, DamagedImage, UnusablePixels
from metseg.data.readers.images import decode

ROWS = bytes(range(64)) * 2  # of an 8-bit grey image of 16 × 8 px
PLAIN = {256: 16, 257: 8, 258: 8, 259: 1, 262: 1, 273: ..., 277: 1, 278: 8, 279: ...}


def handmade(content: bytes = ROWS, following: int = 0, **changes) -> bytes:
    """Writes a TIFF of one strip by hand; `changes` are t<tag>=value, or (type, values), or None."""
    entries = {**PLAIN, **{int(name[1:]): value for name, value in changes.items()}}
    entries = {tag: value for tag, value in sorted(entries.items()) if value is not None}
    start = 8 + 2 + 12 * len(entries) + 4
    entries = {tag: {273: start, 279: len(content)}[tag] if v is ... else v for tag, v in entries.items()}
    directory, extra = b"", b""
    for tag, value in entries.items():
        kind, values = value if isinstance(value, tuple) else (4, [value])
        packed = struct.pack(f"<{len(values)}{'HI'[kind == 4]}", *values)
        if len(packed) > 4:
            where = start + len(content) + len(extra)
            extra += packed
            packed = struct.pack("<I", where)
        directory += struct.pack("<HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    return head + directory + struct.pack("<I", following) + content + extra


def read(data: bytes, max_pixels: int = 10**6) -> np.ndarray:
    return decode(data, "a.tif", max_pixels=max_pixels).channels_last[0].squeeze()


def peak_mb(function, *args) -> float:
    tracemalloc.start()
    try:
        function(*args)
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def test_a_handmade_file_is_read():
    assert (read(handmade()) == np.frombuffer(ROWS, np.uint8).reshape(8, 16)).all()
    assert (read(handmade(zlib.compress(ROWS), t259=8)) == read(handmade())).all()


@pytest.mark.parametrize("value", [0, 1])
def test_an_orientation_tag_that_turns_nothing_is_taken(value):
    assert (read(handmade(t274=(3, [value]))) == read(handmade())).all()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"t256": 0}, "is 0 × 8 px, so it has no pixel"),
        ({"t257": 0}, "is 16 × 0 px, so it has no pixel"),
        ({"t256": 2**32 - 1, "t257": 2**32 - 1}, "the most is 1 megapixels"),
        ({"t256": 1001, "t257": 1000}, "is 1001 × 1000 px; the most is 1 megapixels"),
        ({"t256": MAX_SIDE + 1, "t257": 1}, f"is {MAX_SIDE + 1} × 1 px"),
        ({"following": 8}, "has several pages"),
        ({"t32997": 2}, "has several pages"),
        ({"t277": 65_535}, "has 65535 channels"),
        ({"t258": 0}, "holds numbers of an unusual kind"),
        ({"t258": 65_535}, "holds numbers of an unusual kind"),
        ({"t258": 64, "t339": 6}, "holds numbers of an unusual kind"),
        *[({"t274": (3, [value])}, f"orientation tag {value}") for value in (*range(2, 9), 9)],
        ({"t262": 0}, "is stored as MINISWHITE"),
        ({"t262": 3}, "is stored as PALETTE"),
        ({"t262": 5}, "is stored as SEPARATED"),
        ({"t259": 7}, "is compressed by JPEG; save it with LZW, deflate or uncompressed"),
        ({"t259": 34_925}, "is compressed by LZMA"),
        ({"t322": 2**20, "t323": 2**20}, "has tiles of 1048576 × 1048576 px"),
    ],
)
def test_what_no_slice_would_be_stored_as_is_refused_from_the_directory(changes, sentence):
    with pytest.raises(UnusablePixels, match=f"^a.tif .*{sentence}"):
        read(handmade(**changes))


@pytest.mark.parametrize(
    "data",
    [
        handmade(t256=None),
        handmade(t273=None),
        handmade(t279=None),
        handmade(t262=999),
        handmade(t259=999),
        handmade(t278=0),
        handmade(t279=0),
        handmade(t257=9),  # more rows than there are
        handmade(t278=4),  # two strips, but the place of one
        handmade(t273=(4, [200, 210]), t279=(4, [100, 100]), t278=4),  # strips that overlap
        handmade(t322=0, t323=0),
        handmade(t258=(9, [8])),
        handmade(zlib.compress(ROWS), t259=8)[:-1],
        handmade(zlib.compress(ROWS[:-1]), t259=8),
        handmade(zlib.compress(ROWS)[:-1] + b"?", t259=8),
        handmade(b"\xff" * 128, t259=5),
        handmade()[:8],
        handmade()[:9],
        handmade()[:60],
        b"II*\0" + b"\xff" * 60,
        b"II+\0" + b"\xff" * 60,
        b"MM\0*",
    ],
)
def test_what_is_cut_or_damaged_is_one_sentence(data):
    with pytest.raises(DamagedImage, match=r"^a.tif is truncated.*; copy it again from its source$"):
        read(data)


def inflating(megabytes: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(10**6)) for _ in range(megabytes)) + packer.flush()


@pytest.mark.parametrize(
    "data",
    [
        handmade(t256=2**16, t257=2**16),
        handmade(inflating(30), t259=8),  # 30 kB that become 30 MB
        handmade(b"\x81\0" * 50_000, t259=32_773),
        handmade(t322=2**15, t323=2**15),
        handmade(
            inflating(30), t256=1, t257=999, t278=1, t259=8, t273=(4, [300] * 999), t279=(4, [25_000] * 999)
        ),
        handmade(bytes(10**6), t273=(4, [200] * 250_000)),  # a place for each of strips that cannot be
    ],
    ids=["size", "deflate", "packbits", "tile", "strips", "places"],
)
def test_a_bomb_costs_no_memory(data):
    def attempt():
        with pytest.raises((DamagedImage, UnusablePixels)):
            read(data)

    assert peak_mb(attempt) < 3 * len(data) / 1e6 + 2


def test_private_tags_are_not_looked_at():
    # ImageJ, LSM, NIH, STK and OME: each makes tifffile do more than read pixels.
    tags = [
        (code, 4, 200_000, tuple(range(200_000)), True) for code in (33_628, 33_629, 34_412, 50_838, 50_839)
    ]
    buffer = io.BytesIO()
    image = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    options = {
        "photometric": "rgb",
        "description": "<OME><Image/></OME>",
        "software": "NIH",
        "metadata": None,
    }
    tifffile.imwrite(buffer, image, extratags=tags, **options)
    data = buffer.getvalue()
    assert (read(data) == image).all()
    assert peak_mb(read, data) < 3 * len(data) / 1e6
