"""A file's header is read whatever state it is in; what is damaged is said."""

import tracemalloc
import warnings

import numpy as np
import pytest
from dicom_files import a_scan, a_series, edit
from pydicom import Dataset, dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from metseg.base.errors import MetsegError
from metseg.data.readers import dicom_series
from metseg.data.readers.dicom import list_series, read_dicom_case
from metseg.data.readers.dicom_headers import read_bounded, read_frames, read_owner


@pytest.mark.parametrize("enhanced", [False, True])
def test_a_file_cut_anywhere_is_refused_or_said(tmp_path, enhanced):
    path = a_series(tmp_path, enhanced=enhanced)[-1]
    whole = path.read_bytes()
    for length in np.linspace(0, len(whole) - 1, 15).astype(int):
        path.write_bytes(whole[:length])
        try:
            case = read_dicom_case(tmp_path)
        except MetsegError as error:
            assert path.name in str(error) and "\n" not in str(error)
        else:
            assert any(path.name in note for note in case.notes)
    path.write_bytes(whole)
    assert read_dicom_case(tmp_path).volumes[0].grid == (5, 6, 7)


def test_odd_bytes_end_in_a_sentence(tmp_path):
    path = a_series(tmp_path)[2]
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(20):
        spoilt = bytearray(whole)
        for where in rng.integers(128, len(whole) - 100, 4):
            spoilt[where] = rng.integers(256)
        path.write_bytes(spoilt)
        try:
            read_dicom_case(tmp_path)
        except MetsegError as error:
            assert "\n" not in str(error)


def test_frames_of_an_enhanced_file_have_their_own_headers(tmp_path):
    scan = a_scan()
    (path,) = a_series(tmp_path, scan, enhanced=True)
    frames, otherwise, _ = read_frames(path)
    assert otherwise == "" and [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    heights = [frame.header["ImagePositionPatient"][2] for frame in frames]
    assert heights == pytest.approx([0, 2.5, 5, 7.5, 10])
    assert {frame.header["EchoTime"] for frame in frames} == {3.0}  # EffectiveEchoTime


def test_a_position_in_a_private_group_is_none(tmp_path):
    """As Philips writes, with other coordinates."""
    (path,) = a_series(tmp_path, enhanced=True)
    dataset = dcmread(path)
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        other = Dataset()
        other.ImagePositionPatient = [1, 2, 3]
        block = frame.private_block(0x2005, "Philips MR Imaging DD 005", create=True)
        block.add_new(0x0F, "SQ", [other])
    dataset.save_as(path)
    (series,) = list_series(tmp_path)
    np.testing.assert_allclose(series.affine, a_scan().affine, atol=1e-9)


@pytest.mark.parametrize("count", [-1, 10**8])
def test_a_number_of_frames_that_cannot_be_is_said(tmp_path, count):
    path = a_series(tmp_path)[0]
    edit(path, NumberOfFrames=count)
    (series,) = list_series(tmp_path)
    assert len(series.files) == 4 and path.name in series.beside[0] and "damaged" in series.beside[0]


def test_frames_of_which_no_header_tells_are_refused(tmp_path):
    (path,) = a_series(tmp_path, enhanced=True)
    edit(path, NumberOfFrames=6)
    with pytest.raises(MetsegError, match=path.name):
        list_series(tmp_path)


def test_many_frames_without_a_position_each_are_refused(tmp_path):
    """An old multi-frame file has one position for all."""
    path = a_series(tmp_path, a_scan(shape=(1, 6, 7)))[0]
    edit(path, NumberOfFrames=2, PixelData=bytes(2 * 6 * 7 * 2))
    (series,) = list_series(tmp_path)
    assert "ImagePositionPatient" in series.refusal


def test_a_deflated_file_is_not_inflated(tmp_path):
    path = a_series(tmp_path)[0]
    dataset = dcmread(path)
    dataset.PixelData = bytes(10**8)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on the length
        dataset.save_as(path)
    assert path.stat().st_size < 10**6
    tracemalloc.start()
    frames, otherwise, _ = read_frames(path)
    assert frames == [] and otherwise.startswith("deflated DICOM file") and read_owner(path) == ("", "", "")
    with pytest.raises(ValueError, match="deflated"):
        read_bounded(path)
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()


@pytest.mark.parametrize("count", [33, 500_000])
def test_a_value_of_very_many_numbers_is_not_taken_apart(tmp_path, count):
    path = a_series(tmp_path)[0]
    dataset = dcmread(path)
    del dataset.PixelSpacing
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on the length
        dataset.ImageComments = "1" + "\\1" * (count - 1)
        dataset.save_as(path, implicit_vr=True, little_endian=True)
    # Under the tag of the spacing, whose values pydicom would not write.
    comments, spacing = b"\x20\0\0\x40", b"\x28\0\x30\0"
    path.write_bytes(path.read_bytes().replace(comments, spacing, 1))
    (frame,), *_ = read_frames(path)
    assert "PixelSpacing" not in frame.header


def test_very_many_images_are_no_scan(tmp_path, monkeypatch):
    a_series(tmp_path)
    monkeypatch.setattr(dicom_series, "MOST_FRAMES", 4)
    with pytest.raises(MetsegError, match="more than 4 DICOM images"):
        list_series(tmp_path)
