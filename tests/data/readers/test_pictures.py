"""PNG and JPEG files: what is kept, what is refused, and that a bomb costs nothing."""

import io
import struct
import tracemalloc
import zlib
from contextlib import suppress

import cv2
import numpy as np
import pytest
from PIL import Image

from metseg.data.readers.image_errors import DamagedImage, NotAnImage, UnusablePixels
from metseg.data.readers.images import decode, kind_of

RGB = np.arange(768, dtype=np.uint8).reshape(16, 16, 3)


def saved(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    width: int, height: int, *, bits: int = 8, colours: int = 2, pixels: bytes = b"", extra: bytes = b""
) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0)
    parts = chunk(b"IHDR", header), extra, chunk(b"IDAT", zlib.compress(pixels)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("options", [[], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_QUALITY, 50]])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("grey", [True, False])
def test_pixels_are_those_that_opencv_reads(suffix, options, grey, noise):
    image = noise(3, (40, 56))
    data = cv2.imencode(suffix, image[..., 0] if grey else image, options)[1].tobytes()
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    volume = decode(data, "a")
    assert volume.spacing_mm is None
    assert (volume.channels_last[0].squeeze() == (expected if grey else expected[..., ::-1])).all()


@pytest.mark.parametrize(
    ("mode", "shape", "dtype"),
    [
        ("1", (16, 16), np.uint8),
        ("L", (16, 16), np.uint8),
        ("P", (16, 16, 3), np.uint8),
        ("LA", (16, 16, 4), np.uint8),
        ("RGB", (16, 16, 3), np.uint8),
        ("RGBA", (16, 16, 4), np.uint8),
    ],
)
def test_a_png_of_every_kind_keeps_its_channels(mode, shape, dtype):
    pixels = decode(saved(Image.fromarray(RGB).convert(mode), "PNG"), "a").channels_last[0].squeeze()
    assert (pixels.shape, pixels.dtype) == (shape, dtype)


def test_the_colours_of_a_palette_are_looked_up():
    picture = Image.fromarray(np.array([[0, 1, 1]], np.uint8), "P")
    picture.putpalette([10, 20, 30, 40, 50, 60])
    assert decode(saved(picture, "PNG"), "a").channels_last[0].tolist() == [
        [[10, 20, 30], [40, 50, 60], [40, 50, 60]]
    ]


def test_a_bilevel_png_is_black_and_white():
    picture = Image.fromarray(np.array([[0, 255, 255]], np.uint8)).convert("1")
    assert decode(saved(picture, "PNG"), "a").array[0, 0].tolist() == [[0, 255, 255]]


def test_sixteen_bits_of_grey_are_kept():
    grey = np.array([[0, 1, 256, 65_535]], np.uint16)
    pixels = decode(saved(Image.fromarray(grey), "PNG"), "a").channels_last[0].squeeze()
    assert pixels.dtype == np.uint16
    assert (pixels == grey).all()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (png(0, 4), "is 0 × 4 px, so it has no pixel"),
        (png(100_000, 100_000), "is 100000 × 100000 px; the most is"),
        (png(2**32 - 1, 1), "is 4294967295 × 1 px; the most is"),
        (png(2, 2, bits=16, pixels=bytes(26)), "has 16 bits a channel; rescale it to 8 bits"),
        (saved(Image.fromarray(RGB).convert("CMYK"), "JPEG"), "is stored as CMYK; save it as RGB"),
        *[
            (
                saved(Image.fromarray(RGB), kind, save_all=True, append_images=[Image.fromarray(RGB[::-1])]),
                "several pages",
            )
            for kind in ("PNG", "MPO")
        ],
    ],
)
def test_what_no_slice_would_be_stored_as_is_refused(data, sentence):
    with pytest.raises(UnusablePixels, match=f"^a .*{sentence}"):
        decode(data, "a")


def turned(kind: str, value: int) -> bytes:
    exif = Image.Exif()
    exif[274] = value
    return saved(Image.fromarray(RGB), kind, exif=exif)


def raw_exif(value: int) -> bytes:
    return b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 274, 3, 1, value, 0, 0)


def exif_behind_the_pixels(value: int) -> bytes:
    data = png(2, 2, pixels=bytes(14))
    return data[:-12] + chunk(b"eXIf", raw_exif(value)) + data[-12:]


def in_xmp(value: int) -> bytes:
    xmp = f'<rdf:Description tiff:Orientation="{value}"/>'.encode()
    return png(2, 2, pixels=bytes(14), extra=chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp))


@pytest.mark.parametrize("value", range(2, 9))
def test_a_picture_that_asks_to_be_turned_is_refused(value):
    pictures = turned("JPEG", value), turned("PNG", value), exif_behind_the_pixels(value), in_xmp(value)
    for data in pictures:
        with pytest.raises(UnusablePixels, match=f"^a .*orientation tag {value}"):
            decode(data, "a")


@pytest.mark.parametrize("value", [0, 1])
def test_a_picture_that_is_stored_as_it_is_shown_is_taken(value):
    assert (decode(turned("PNG", value), "a").channels_last[0] == RGB).all()
    assert decode(turned("JPEG", value), "a").channels_last[0].shape == RGB.shape
    assert decode(exif_behind_the_pixels(value), "a").channels_last[0].shape == (2, 2, 3)


def test_the_limit_is_the_callers():
    for data in (saved(Image.fromarray(RGB), "PNG"), saved(Image.fromarray(RGB), "JPEG")):
        assert decode(data, "a", max_pixels=256).channels_last[0].shape == RGB.shape
        with pytest.raises(UnusablePixels, match="is 16 × 16 px; the most is"):
            decode(data, "a", max_pixels=255)


def test_a_jpeg_that_claims_more_pixels_than_any_is_refused():
    data = bytearray(saved(Image.fromarray(RGB), "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = b"\xff\xff\xff\xff"
    with pytest.raises(UnusablePixels, match="^a is 65535 × 65535 px"):
        decode(bytes(data), "a")


def test_a_jpeg_that_repeats_its_scans_is_refused():
    data = saved(Image.fromarray(RGB), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    with pytest.raises(UnusablePixels, match="^a is a JPEG of very many scans"):
        decode(data[:last] + data[last:-2] * 60 + data[-2:], "a")


_COMMENT, _TEXT = b"\xff\xfe\0\2", chunk(b"tEXt", b"a\0")


@pytest.mark.parametrize(
    "pieces",
    [
        lambda jpeg: jpeg[:2] + 70_000 * _COMMENT + jpeg[2:],
        lambda jpeg: jpeg[:-2] + 70_000 * _COMMENT + jpeg[-2:],
        lambda jpeg: jpeg[:2] + 70_000 * b"\xff" + jpeg[2:],
        lambda _: png(4, 4, pixels=bytes(52), extra=70_000 * _TEXT),
    ],
    ids=["segments", "behind the pixels", "filled", "chunks"],
)
def test_a_file_of_very_many_pieces_is_refused_before_it_is_decoded(pieces):
    with pytest.raises(UnusablePixels, match="^a is in more than 65536 pieces"):
        decode(pieces(saved(Image.fromarray(RGB), "JPEG")), "a")


def test_a_file_of_some_pieces_is_read():
    jpeg = saved(Image.fromarray(RGB), "JPEG")
    sound = decode(jpeg, "a").array
    for some in (jpeg[:2] + 9 * _COMMENT + jpeg[2:], jpeg[:20] + 9 * b"\xff" + jpeg[20:]):
        assert (decode(some, "a").array == sound).all()
    assert decode(png(4, 4, pixels=bytes(52), extra=9 * _TEXT), "a").array.shape == (3, 1, 4, 4)


@pytest.mark.parametrize(("text", "between"), [(b"zTXt", b"\0"), (b"iTXt", b"\1\0\0\0"), (b"iCCP", b"\0")])
def test_text_that_inflates_costs_no_memory(text, between):
    bomb = chunk(text, b"a\0" + between + zlib.compress(bytes(3 * 10**7)))
    data = png(4, 4, pixels=bytes(52), extra=bomb)
    tracemalloc.start()
    with suppress(DamagedImage):
        assert decode(data, "a").channels_last[0].shape == (4, 4, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10**7


def test_a_wrong_checksum_is_noticed():
    data = bytearray(saved(Image.fromarray(RGB), "PNG"))
    at = data.index(b"IEND") - 8  # the last four bytes of the pixels' chunk
    data[at] ^= 1
    with pytest.raises(DamagedImage, match="^a is truncated or damaged; copy it again"):
        decode(bytes(data), "a")


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_cut_is_noticed_wherever_it_is(kind):
    data = saved(Image.fromarray(RGB), kind)
    for end in range(8, len(data) - 1):
        with pytest.raises(DamagedImage, match="^a is truncated.*; copy it again"):
            decode(data[:end], "a")


@pytest.mark.parametrize("kind", ["GIF", "BMP", "WEBP", "PPM"])
def test_pictures_of_other_kinds_are_no_image_here(kind):
    with pytest.raises(NotAnImage, match="^a is no image or is truncated; expected TIFF, PNG or JPEG"):
        decode(saved(Image.fromarray(RGB), kind), "a")


def test_dicom_is_told_by_name():
    with pytest.raises(NotAnImage, match="^a is a DICOM file; export the slice as TIFF or PNG"):
        decode(bytes(128) + b"DICM" + bytes(64), "a")


def test_the_kind_is_told_by_content():
    assert kind_of(saved(Image.fromarray(RGB), "PNG")) == "PNG"
    assert kind_of(saved(Image.fromarray(RGB), "JPEG")) == "JPEG"
    assert [kind_of(start + bytes(9)) for start in (b"II*\0", b"MM\0+")] == ["TIFF", "TIFF"]
    assert kind_of(b"") is None
