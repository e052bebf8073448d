"""Pixels come as the scanner meant them, whatever they are stored as, or the file is refused by name."""

import numpy as np
import pytest
from complaints import complaint
from dicom_files import a_scan, a_series, compress, edit
from pydicom import dcmread, dcmwrite
from pydicom.uid import (
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from metseg.data.readers.dicom import list_series, read_series


def read(folder):
    (series,) = list_series(folder)
    return read_series(series)


@pytest.mark.parametrize("enhanced", [False, True])
@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_compressed_files_are_read(tmp_path, syntax, enhanced):
    for path in a_series(tmp_path, enhanced=enhanced):
        dataset = dcmread(path)
        dataset.compress(syntax, generate_instance_uid=False)
        dataset.save_as(path)
        assert dcmread(path).file_meta.TransferSyntaxUID == syntax
    volume, notes = read(tmp_path)
    assert (volume.array == a_scan().array).all() and notes == []


@pytest.mark.parametrize("name", ["JPEGLosslessProcess14_1", "JPEG2000Lossless"])
def test_files_that_gdcm_compressed_are_read(tmp_path, name):
    scan = a_scan(shape=(2, 64, 64))
    for path in a_series(tmp_path, scan):
        compress(path, name)
        assert dcmread(path).file_meta.TransferSyntaxUID.is_compressed
    assert (read(tmp_path)[0].array == scan.array).all()


def test_what_follows_the_pixels_is_not_read(tmp_path):
    for path in a_series(tmp_path):
        path.write_bytes(path.read_bytes() + b"\xfc\xff\xfc\xffSQ\0\0\xff\xff\xff\xffno item")
    assert (read(tmp_path)[0].array == a_scan().array).all()


def test_frames_of_two_files_in_turns_are_one_volume(tmp_path):
    scan = a_scan(shape=(6, 6, 7))
    (first,) = a_series(tmp_path / "a", scan, enhanced=True)
    second = tmp_path / "b.dcm"
    dataset = dcmread(first)
    places, pixels = list(dataset.PerFrameFunctionalGroupsSequence), scan.array[0]
    for path, part in ((first, slice(0, None, 2)), (second, slice(1, None, 2))):
        dataset.PerFrameFunctionalGroupsSequence, dataset.NumberOfFrames = places[part], 3
        dataset.PixelData = pixels[part].tobytes()
        dataset.save_as(path)
    assert (read(tmp_path)[0].array == scan.array).all()


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_other_encodings_are_read(tmp_path, syntax):
    for path in a_series(tmp_path):
        dataset = dcmread(path)
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = dataset.pixel_array.astype(">u2").tobytes()
        dataset.file_meta.TransferSyntaxUID = syntax
        encoding = {"implicit_vr": syntax.is_implicit_VR, "little_endian": syntax.is_little_endian}
        dcmwrite(path, dataset, **encoding, force_encoding=True)
    assert (read(tmp_path)[0].array == a_scan().array).all()


def test_files_without_the_preamble_are_read(tmp_path):
    for path in a_series(tmp_path):
        dataset = dcmread(path)
        del dataset.file_meta
        dataset.preamble = None
        dcmwrite(path, dataset, implicit_vr=True, little_endian=True)
        assert path.read_bytes()[128:132] != b"DICM"
    assert (read(tmp_path)[0].array == a_scan().array).all()


def test_an_unreadable_transfer_syntax_is_named(tmp_path):
    path = a_series(tmp_path)[0]
    dataset = dcmread(path)
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"  # a film
    dataset["PixelData"].is_undefined_length = True
    dataset.PixelData = b"\xfe\xff\x00\xe0\x00\x00\x00\x00\xfe\xff\x00\xe0\x02\x00\x00\x00\x00\x00"
    dataset.save_as(path)
    text = complaint(read, tmp_path)
    assert path.name in text and "MPEG-4" in text


@pytest.mark.parametrize("enhanced", [False, True])
def test_truncated_pixels_are_refused_by_file(tmp_path, enhanced):
    path = a_series(tmp_path, enhanced=enhanced)[-1]
    path.write_bytes(path.read_bytes()[:-10])
    assert path.name in complaint(read, tmp_path)


@pytest.mark.parametrize("enhanced", [False, True])
@pytest.mark.parametrize("size", [{"Rows": 5}, {"Columns": 6}, {"Rows": 7}])
def test_a_header_that_lies_about_the_size_is_refused(tmp_path, size, enhanced):
    paths = a_series(tmp_path, enhanced=enhanced)
    for path in paths:
        edit(path, **size)
    assert paths[0].name in complaint(read, tmp_path)


@pytest.mark.parametrize("enhanced", [False, True])
def test_each_slice_is_scaled_by_its_own_slope(tmp_path, enhanced):
    paths = a_series(tmp_path, enhanced=enhanced)
    for k, path in enumerate(paths):
        dataset = dcmread(path)
        frames = dataset.PerFrameFunctionalGroupsSequence if enhanced else ()
        items = [frame.PixelValueTransformationSequence[0] for frame in frames] or [dataset]
        for n, item in enumerate(items):
            item.RescaleSlope, item.RescaleIntercept = 0.5 + (n or k), -10
        dataset.save_as(path)
    volume, _ = read(tmp_path)
    slopes = np.arange(5)[:, None, None] + 0.5
    assert volume.array.dtype == np.float32
    np.testing.assert_allclose(volume.array[0], a_scan().array[0] * slopes - 10, rtol=1e-6)


@pytest.mark.parametrize(("signed", "expected"), [(0, [4095, 4094, 0]), (1, [-1, -2, 0])])
def test_a_negative_is_inverted_and_said(tmp_path, signed, expected):
    """Of 12 bits, unsigned 0 … 4095; signed 0 becomes -1."""
    path = a_series(tmp_path, a_scan(shape=(1, 1, 3)))[0]
    stored = np.array([0, 1, -1 if signed else 4095], np.int16)
    edit(path, PhotometricInterpretation="MONOCHROME1", PixelRepresentation=signed, BitsStored=12, HighBit=11)
    edit(path, PixelData=(stored & 0xFFF if not signed else stored).tobytes())
    volume, notes = read(tmp_path)
    assert volume.array.ravel().tolist() == expected
    assert any("MONOCHROME1" in note for note in notes)


@pytest.mark.parametrize("kind", ["MONOCHROME2", "MONOCHROME1"])
@pytest.mark.parametrize(
    ("value", "pixels", "expected"),
    [
        (-2000, [-2000, 100, 900], [100, 100, 900]),
        (32767, [32767, 100, 900], [100, 100, 900]),
        (0, [0, 10, 900], [0, 10, 900]),  # as good as background
        (-2000, [50, 100, 900], [50, 100, 900]),
        (-2000, [-2000, -2000, -2000], [-2000, -2000, -2000]),
    ],
)
def test_a_padding_far_from_all_else_is_no_grey_value(tmp_path, value, pixels, expected, kind):
    path = a_series(tmp_path, a_scan(shape=(1, 1, 3)))[0]
    inverted = kind == "MONOCHROME1"
    stored = [-1 - each if inverted else each for each in (value, *pixels)]
    edit(path, PixelRepresentation=1, PhotometricInterpretation=kind)
    dataset = dcmread(path)
    dataset.add_new("PixelPaddingValue", "SS", stored[0])
    dataset.PixelData = np.array(stored[1:], np.int16).tobytes()
    dataset.save_as(path)
    volume, notes = read(tmp_path)
    assert volume.array.ravel().tolist() == expected
    assert any("padding" in note for note in notes) == (expected != pixels)


def test_a_padding_written_as_if_unsigned(tmp_path):
    path = a_series(tmp_path, a_scan(shape=(1, 1, 3)))[0]
    edit(path, PixelRepresentation=1, PixelData=np.array([-2000, 100, 900], np.int16).tobytes())
    dataset = dcmread(path)
    dataset.add_new("PixelPaddingValue", "US", 2**16 - 2000)
    dataset.save_as(path)
    assert read(tmp_path)[0].array.ravel().tolist() == [100, 100, 900]


def test_what_lies_in_the_unused_bits_is_no_grey_value(tmp_path):
    """Old scanners drew overlays there."""
    path = a_series(tmp_path, a_scan(shape=(1, 1, 3)))[0]
    pixels = np.array([5, 5 | 0x1000, 4095 | 0x8000], np.uint16)
    edit(path, BitsStored=12, HighBit=11, PixelData=pixels.tobytes())
    assert read(tmp_path)[0].array.ravel().tolist() == [5, 5, 4095]


def test_a_scan_of_too_many_voxels_is_refused(tmp_path):
    a_series(tmp_path)
    (series,) = list_series(tmp_path)
    assert "209" in complaint(lambda: read_series(series, max_voxels=209))
    assert read_series(series, max_voxels=210)[0].grid == (5, 6, 7)
