"""Files become cases, or one sentence that names the file and the remedy."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from metseg.data.cases import (
    CaseFiles,
    SliceFiles,
    decode,
    find_cases,
    list_cases,
    load_case,
    patient_of,
    read_image,
    read_mask,
)
from metseg.errors import MetsegError

CASE = "TCGA_CS_0001_19990101"
SHAPE = (24, 32)


def complaint(function, *args) -> str:
    """The text of the `MetsegError`, which must be a single sentence on a single line."""
    with pytest.raises(MetsegError) as caught:
        function(*args)
    text = str(caught.value)
    assert text and "\n" not in text and "Traceback" not in text
    return text


def tiff(path: Path, pixels: np.ndarray, **options) -> Path:
    tifffile.imwrite(path, pixels, **options)
    return path


# Layouts


def test_a_folder_for_each_patient_and_all_in_one_are_the_same_cases(tmp_path, write_set):
    nested, flat = (
        find_cases(write_set(tmp_path / name, flat=flat)) for name, flat in (("n", False), ("f", True))
    )
    assert [case.case_id for case in nested] == ["TCGA_CS_0001_19990101", "TCGA_CS_0002_19990102"]
    assert [case.patient_id for case in nested] == ["TCGA_CS_0001", "TCGA_CS_0002"]
    assert [[files.slice_index for files in case.slices] for case in nested] == [[1, 2], [1, 2, 3]]
    assert nested[0].slices[0].image == tmp_path / "n" / CASE / f"{CASE}_1.tif"
    assert nested[0].slices[0].mask == tmp_path / "n" / CASE / f"{CASE}_1_mask.tif"
    assert flat[0].slices[0].image == tmp_path / "f" / f"{CASE}_1.tif"
    for one, other in zip(nested, flat, strict=True):
        assert (load_case(one).image == load_case(other).image).all()
        assert (load_case(one).mask == load_case(other).mask).all()


def test_slices_are_ordered_by_number_not_by_name(tmp_path, write_slice, noise, square):
    for n in (10, 9, 1):
        write_slice(tmp_path, f"{CASE}_{n}", noise(n), square(n))
    (case,) = find_cases(tmp_path)
    loaded = load_case(case)
    assert loaded.slice_index == (1, 9, 10)
    assert [mask.sum() for mask in loaded.mask] == [1, 81, 100]
    assert (loaded.image[1] == noise(9)).all()


def test_other_files_and_hidden_ones_are_passed_over(tmp_path, write_set):
    write_set(tmp_path)
    (tmp_path / "data.csv").write_text("Patient,grade\n")
    (tmp_path / CASE / f"._{CASE}_1.tif").write_bytes(b"what macOS leaves in archives")
    (tmp_path / CASE / "overview.tif").write_bytes(b"")
    assert [len(case.slices) for case in find_cases(tmp_path)] == [2, 3]


def test_upper_case_suffixes_are_read(tmp_path, noise, square):
    tiff(tmp_path / "A_1.TIF", noise(1), photometric="rgb")
    tiff(tmp_path / "A_1_MASK.TIFF", square(3).astype(np.uint8))
    (case,) = find_cases(tmp_path)
    assert load_case(case).mask.sum() == 9


@pytest.mark.parametrize(
    ("case_id", "patient_id"),
    [
        ("TCGA_CS_4941_19960909", "TCGA_CS_4941"),
        ("TCGA_CS_4941_19960909_2", "TCGA_CS_4941_19960909_2"),  # the date stands last
        ("patient7", "patient7"),
        ("patient_1234567", "patient_1234567"),  # seven digits are no date
        ("_19960909", ""),
    ],
)
def test_patient_of_cuts_the_date_of_the_scan(case_id, patient_id):
    assert patient_of(case_id) == patient_id


def test_a_missing_and_an_empty_folder_are_told_apart(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    assert "missing is not a folder; give the one" in complaint(list_cases, tmp_path / "missing")
    assert "file is not a folder; give the one" in complaint(list_cases, tmp_path / "file")
    assert "empty holds no scan; expected files such as" in complaint(list_cases, tmp_path / "empty")


def test_a_scan_in_two_folders_is_refused(tmp_path, write_set):
    write_set(tmp_path / "a")
    write_set(tmp_path / "b")
    text = complaint(list_cases, tmp_path)
    assert CASE in text and str(tmp_path / "a" / CASE) in text and str(tmp_path / "b" / CASE) in text
    assert "name the folder of one copy" in text


def test_one_slice_under_two_names_is_refused(tmp_path, write_slice, noise, square):
    write_slice(tmp_path, f"{CASE}_1", noise(1), square(1))
    write_slice(tmp_path, f"{CASE}_01", noise(1), square(1))
    text = complaint(list_cases, tmp_path)
    assert f"{CASE}_1" in text and f"{CASE}_01" in text and "remove one" in text


@pytest.mark.parametrize(
    ("gone", "sentence"),
    [
        (f"{CASE}_2_mask.tif", f"{CASE}_2.tif has no mask; add {CASE}_2_mask.tif"),
        (f"{CASE}_2.tif", f"{CASE}_2_mask.tif has no image; add the slice"),
    ],
)
def test_half_a_pair_is_listed_but_not_found(tmp_path, write_set, gone, sentence):
    write_set(tmp_path)
    (tmp_path / CASE / gone).unlink()
    case = list_cases(tmp_path)[0]
    assert sentence in complaint(find_cases, tmp_path)
    assert sentence in complaint(load_case, case)
    assert (case.slices[1].mask is None) == ("mask" in gone)
    assert (case.slices[1].image is None) == ("mask" not in gone)


# Good files


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib"},
        {"compression": "lzw"},
        {"byteorder": ">"},
        {"bigtiff": True},
        {"rowsperstrip": 5},
        {"tile": (16, 16)},
    ],
)
def test_tiff_of_any_kind_gives_its_pixels(tmp_path, noise, options):
    path = tiff(tmp_path / "a.tif", noise(1), photometric="rgb", **options)
    assert (read_image(path) == noise(1)).all()


def test_tiff_with_separate_planes_gives_its_pixels(tmp_path, noise):
    path = tiff(
        tmp_path / "a.tif", np.moveaxis(noise(1), -1, 0).copy(), photometric="rgb", planarconfig="separate"
    )
    assert (read_image(path) == noise(1)).all()


def test_png_keeps_pixels_and_the_order_of_channels(tmp_path, noise):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), noise(1)[..., ::-1])
    assert (read_image(path) == noise(1)).all()


def test_jpeg_keeps_the_order_of_channels(tmp_path):
    image = np.zeros((16, 16, 3), np.uint8)
    image[..., 0] = 200
    path = tmp_path / "a.jpg"
    cv2.imwrite(str(path), image[..., ::-1])
    assert np.abs(read_image(path).astype(int) - image).max() <= 3


def test_spacing_survives_the_way_through_a_file(tmp_path, noise):
    tags = {"resolutionunit": "CENTIMETER", "description": "spacing_mm=5.5", "metadata": None}
    path = tiff(tmp_path / "a.tif", noise(1), photometric="rgb", resolution=(40, 20), **tags)
    spacing = decode(path.read_bytes(), "a")[1]
    assert spacing == pytest.approx((5.5, 0.5, 0.25))  # 20 px/cm along y, 40 along x


@pytest.mark.parametrize(
    "changes",
    [
        {"description": ""},
        {"description": "spacing_mm=1.2.3"},
        {"resolutionunit": "INCH"},
        {"resolution": (0, 20)},
    ],
)
def test_unknown_spacing_is_none_and_the_pixels_are_read_all_the_same(tmp_path, noise, changes):
    tags = {"resolution": (40, 20), "resolutionunit": "CENTIMETER", "description": "spacing_mm=5"}
    path = tiff(tmp_path / "a.tif", noise(1), photometric="rgb", metadata=None, **{**tags, **changes})
    pixels, spacing = decode(path.read_bytes(), "a")
    assert spacing is None
    assert (pixels == noise(1)).all()


def test_load_case_states_shapes_types_and_spacing(tmp_path, write_slice, noise, square):
    tags = {"resolution": (10, 10), "resolutionunit": "CENTIMETER", "description": "spacing_mm=3"}
    for n in (1, 2):
        write_slice(tmp_path, f"{CASE}_{n}", noise(n), square(n), metadata=None, **tags)
    case = load_case(find_cases(tmp_path)[0])
    assert case.image.shape == (2, 24, 32, 3) and case.image.dtype == np.uint8
    assert case.mask.shape == (2, 24, 32) and case.mask.dtype == bool
    assert case.spacing_mm == pytest.approx((3, 1, 1))
    assert (case.case_id, case.patient_id) == (CASE, "TCGA_CS_0001")


# Bad images


@pytest.mark.parametrize(
    ("pixels", "options", "sentence"),
    [
        (np.zeros((24, 32, 3), np.float32), {"photometric": "rgb"}, "is float32; rescale it to 8 bits"),
        (np.zeros((24, 32, 3), np.uint16), {"photometric": "rgb"}, "is uint16; rescale it to 8 bits"),
        (np.zeros((24, 32), np.uint8), {}, "has 1 channel; expected 3 channels: pre-contrast, FLAIR"),
        (np.zeros((24, 32, 4), np.uint8), {"photometric": "rgb"}, "has 4 channels; drop the alpha channel"),
        (np.zeros((2, 24, 32, 3), np.uint8), {"photometric": "rgb"}, "has 2 pages; save each slice"),
        (np.zeros((24, 32), np.uint8), {"photometric": "miniswhite"}, "is stored as MINISWHITE; save"),
    ],
)
def test_tiff_of_another_kind_is_refused(tmp_path, pixels, options, sentence):
    path = tiff(tmp_path / "bad.tif", pixels, **options)
    assert f"{path} {sentence}" in complaint(read_image, path)


def test_a_palette_is_refused_for_its_numbers_are_no_brightness(tmp_path):
    colours = np.zeros((3, 256), np.uint16)
    path = tiff(tmp_path / "a.tif", np.ones(SHAPE, np.uint8), photometric="palette", colormap=colours)
    assert f"{path} is stored as PALETTE; save" in complaint(read_mask, path, SHAPE)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"compression": "lzw"}])
def test_a_truncated_tiff_is_refused_wherever_it_was_cut(tmp_path, noise, options):
    path = tiff(tmp_path / "cut.tif", noise(1, (8, 8)), photometric="rgb", metadata=None, **options)
    whole = path.read_bytes()
    assert read_image(path).shape == (8, 8, 3)
    for end in (*range(0, len(whole), 7), len(whole) - 1):
        path.write_bytes(whole[:end])
        text = complaint(read_image, path)
        assert str(path) in text and "pages" not in text
        assert "copy it again" in text or "is no image or is truncated" in text


def test_a_tiff_with_its_directory_last_is_refused_or_whole_wherever_it_was_cut(tmp_path, noise):
    path = tmp_path / "cut.tif"
    cv2.imwrite(str(path), noise(1, (8, 8)), [cv2.IMWRITE_TIFF_COMPRESSION, 1])  # libtiff, as most programs
    whole, pixels = path.read_bytes(), read_image(path)
    survived = []
    for end in range(0, len(whole), 3):
        path.write_bytes(whole[:end])
        try:
            assert (read_image(path) == pixels).all()
            survived.append(end)
        except MetsegError as error:
            assert str(path) in str(error) and "pages" not in str(error)
    assert min(survived, default=len(whole)) > 8 * 8 * 3 + 8  # never without the last pixel


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.5, 0.9, 0.99])
def test_a_truncated_png_or_jpeg_is_refused(tmp_path, noise, suffix, share):
    path = tmp_path / f"cut{suffix}"
    cv2.imwrite(str(path), noise(1, (256, 256)))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    assert f"{path} is no image or is truncated; expected TIFF, PNG or JPEG" in complaint(read_image, path)


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"Dear colleague, please find attached", b"II*\0"])
def test_what_is_no_image_is_refused(tmp_path, content):
    path = tmp_path / "letter.tif"
    path.write_bytes(content)
    assert str(path) in complaint(read_image, path)


def test_a_png_that_claims_a_huge_size_is_refused(tmp_path):
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    path = tmp_path / "bomb.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"0"))
        + chunk(b"IEND", b"")
    )
    assert str(path) in complaint(read_image, path)


@pytest.mark.parametrize("name", ["missing.tif", "folder.tif"])
def test_what_cannot_be_opened_is_refused(tmp_path, name):
    (tmp_path / "folder.tif").mkdir()
    assert f"{tmp_path / name} cannot be opened" in complaint(read_image, tmp_path / name)
    assert f"{tmp_path / name} cannot be opened" in complaint(read_mask, tmp_path / name, SHAPE)


def test_slices_of_two_sizes_are_refused(tmp_path, write_slice, noise, square):
    write_slice(tmp_path, f"{CASE}_1", noise(1), square(1))
    write_slice(tmp_path, f"{CASE}_2", noise(2, (20, 20)), square(1, (20, 20)))
    text = complaint(load_case, find_cases(tmp_path)[0])
    assert f"{CASE}_2.tif is (20, 20) but the first slice of {CASE} is (24, 32)" in text


# Masks


@pytest.mark.parametrize("high", [1, 128, 255])
def test_a_mask_of_zero_and_one_other_value_is_read(tmp_path, square, high):
    path = tiff(tmp_path / "m.tif", square(4).astype(np.uint8) * high)
    mask = read_mask(path, SHAPE)
    assert mask.dtype == bool
    assert (mask == square(4)).all()


@pytest.mark.parametrize(("value", "lesion"), [(0, 0), (255, 768)])
def test_a_mask_of_one_value_is_empty_or_full(tmp_path, value, lesion):
    path = tiff(tmp_path / "m.tif", np.full(SHAPE, value, np.uint8))
    assert read_mask(path, SHAPE).sum() == lesion


def test_a_bilevel_mask_is_read(tmp_path, square):
    path = tiff(tmp_path / "m.tif", square(4), photometric="minisblack")
    assert (read_mask(path, SHAPE) == square(4)).all()


@pytest.mark.parametrize(
    ("values", "count"), [((0, 128, 255), 3), ((1, 255), 2), ((0.0, np.nan), 2), ((-1.0, 0.0), 2)]
)
def test_a_mask_of_other_values_is_refused(tmp_path, values, count):
    pixels = np.resize(np.array(values, np.uint8 if isinstance(values[0], int) else np.float32), SHAPE)
    path = tiff(tmp_path / "m.tif", pixels)
    sentence = f"{path} has {count} grey values; save the mask with 0 and 255 only"
    assert sentence == complaint(read_mask, path, SHAPE)


def test_a_mask_of_another_size_is_refused(tmp_path):
    path = tiff(tmp_path / "m.tif", np.zeros((32, 24), np.uint8))
    sentence = f"{path} is (32, 24) but its image is (24, 32); export both at one size"
    assert sentence == complaint(read_mask, path, SHAPE)


def test_a_mask_with_channels_is_refused_for_its_channels(tmp_path, noise):
    path = tiff(tmp_path / "m.tif", noise(1), photometric="rgb")
    assert f"{path} has shape (24, 32, 3); save the mask with one channel" in complaint(
        read_mask, path, SHAPE
    )


def test_the_first_wrong_file_is_named(tmp_path, write_set):
    write_set(tmp_path)
    path = tmp_path / CASE / f"{CASE}_2_mask.tif"
    path.write_bytes(b"")
    assert str(path) in complaint(load_case, find_cases(tmp_path)[0])


def test_a_file_that_vanished_after_listing_is_named(tmp_path):
    gone = SliceFiles(1, tmp_path / "a_1.tif", tmp_path / "a_1_mask.tif")
    assert "a_1.tif cannot be opened" in complaint(load_case, CaseFiles("a", "a", (gone,)))
