"""An upload is a slice or one sentence with its status, whatever was done to the file."""

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from running_service import BRIGHT_CORNER, as_png, as_tiff

from metseg.base.errors import MetsegError
from metseg.serve.upload import MAX_PIXELS, MAX_UPLOAD_BYTES, Upload, read_upload

TIFF = as_tiff(BRIGHT_CORNER, photometric="rgb")
JPEG = cv2.imencode(".jpg", BRIGHT_CORNER)[1].tobytes()


def test_a_slice_is_read_with_its_spacing():
    tags = {"resolution": (20, 20), "resolutionunit": "CENTIMETER", "description": "spacing_mm=5"}
    upload = read_upload(as_tiff(BRIGHT_CORNER, photometric="rgb", metadata=None, **tags))
    assert (upload.image == BRIGHT_CORNER).all()
    assert upload.spacing_mm == (5.0, 0.5, 0.5)
    assert (upload.notes, upload.kind, len(upload.sha256)) == ((), "TIFF", 64)


def test_what_was_done_to_a_file_is_noted():
    upload = read_upload(as_tiff(np.arange(256, dtype=np.uint16).reshape(16, 16) * 7))
    assert (upload.image[..., 2].ravel() == np.arange(256)).all()
    assert ["rescaled" in upload.notes[0], "grey" in upload.notes[1]] == [True, True]


@pytest.mark.parametrize(("data", "kind"), [(TIFF, "TIFF"), (as_png(BRIGHT_CORNER), "PNG"), (JPEG, "JPEG")])
def test_the_kind_is_that_of_the_content(data, kind):
    assert read_upload(data).kind == kind


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (bytes(MAX_UPLOAD_BYTES + 1), "too_large"),
        (TIFF + bytes(MAX_UPLOAD_BYTES), "too_large"),
        (b"", "not_an_image"),
        (b"%PDF-1.7", "not_an_image"),
        (TIFF[:-1], "truncated"),
        (as_png(BRIGHT_CORNER)[:-1], "truncated"),
        (JPEG[:-2], "truncated"),
        (as_png(np.zeros((2000, 2001), np.uint8)), "unusable_pixels"),
        (as_tiff(np.zeros((2, 8, 8), np.uint8)), "unusable_pixels"),
        (as_tiff(np.full((8, 8), np.nan)), "unusable_pixels"),
    ],
)
def test_what_is_no_slice_has_a_code(data, code):
    with pytest.raises(MetsegError, match="^scan.tif ") as caught:
        read_upload(data, "scan.tif")
    assert caught.value.code == code


def test_the_largest_upload_is_still_read():
    edge = int(MAX_PIXELS**0.5)
    assert read_upload(as_png(np.zeros((edge, edge), np.uint8))).image.shape == (edge, edge, 3)
    padded = TIFF + bytes(MAX_UPLOAD_BYTES - len(TIFF))
    assert (read_upload(padded).image == BRIGHT_CORNER).all()


# ---- mutated files ----

SMALL = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
GREY16 = np.arange(256, dtype=np.uint16).reshape(16, 16)
SEEDS = (
    as_tiff(SMALL, photometric="rgb"),
    as_tiff(SMALL, photometric="rgb", compression="zlib", predictor=True, byteorder=">"),
    as_tiff(SMALL, photometric="rgb", compression="lzw", rowsperstrip=5, bigtiff=True),
    as_tiff(SMALL, photometric="rgb", compression="packbits", tile=(16, 16)),
    as_tiff(GREY16.astype(np.float32), compression="zlib", predictor=True),
    as_tiff(np.moveaxis(SMALL, -1, 0).copy(), photometric="rgb", planarconfig="separate"),
    as_png(SMALL),
    as_png(GREY16),
    cv2.imencode(".png", SMALL[..., 0], [cv2.IMWRITE_PNG_BILEVEL, 1])[1].tobytes(),
    cv2.imencode(".jpg", SMALL)[1].tobytes(),
    cv2.imencode(".jpg", SMALL[..., 0], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes(),
)
PLACE = st.floats(0, 1, exclude_max=True)
SURPRISES = st.sampled_from([b"\0", b"\xff", b"\1", b"\x80"]) | st.binary(min_size=1, max_size=8)


@st.composite
def mutated_files(draw) -> bytes:
    """Files some bytes of which were changed, cut off, taken out, doubled, or taken from another file."""
    data = draw(st.sampled_from(SEEDS))
    # The first 300 bytes and the last 400 are where a file says what it is.
    for _ in range(draw(st.integers(1, 6))):
        at = int(draw(PLACE) * (len(data) + 1))
        match draw(
            st.sampled_from(("change", "change", "change", "head", "cut", "take", "double", "splice"))
        ):
            case "change":
                piece = draw(SURPRISES)
                data = data[:at] + piece + data[at + len(piece) :]
            case "head":
                piece, at = draw(SURPRISES), at % 300
                data = data[:at] + piece + data[at + len(piece) :]
            case "cut":
                data = data[:at]
            case "take":
                data = data[:at] + data[at + draw(st.integers(1, 40)) :]
            case "double":
                data = data[:at] + data[at // 2 :]
            case "splice":
                other = draw(st.sampled_from(SEEDS))
                data = data[:at] + other[int(draw(PLACE) * len(other)) :]
    return data


def test_the_seeds_are_slices():
    assert [read_upload(seed).image.shape for seed in SEEDS] == [(16, 16, 3)] * len(SEEDS)


@settings(
    max_examples=400, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
@given(data=mutated_files())
def test_a_mutated_file_is_a_slice_or_one_sentence(data):
    try:
        upload = read_upload(data)
    except MetsegError as error:
        assert error.code in {"too_large", "not_an_image", "truncated", "unusable_pixels"}
        assert str(error).startswith("The file ") and "\n" not in str(error) and len(str(error)) < 200
    else:
        assert isinstance(upload, Upload)
        height, width, channels = upload.image.shape
        assert 0 < height * width <= MAX_PIXELS and channels == 3
        assert upload.image.dtype == np.uint8 and upload.image.flags.c_contiguous
