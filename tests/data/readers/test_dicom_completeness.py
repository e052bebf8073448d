"""Slices that were not copied: what headers tell of a series whose ends are cut off."""

import pytest
from dicom_files import a_scan, a_series, edit
from pydicom import dcmread

from metseg.data.readers.dicom_series import list_series


def notes_of(folder):
    (series,) = list_series(folder)
    assert series.refusal is None
    return [note for note in series.notes if "at an end" in note or "instance numbers" in note]


@pytest.fixture
def paths(tmp_path):
    """The ten files of a series, numbered from 1."""
    paths = a_series(tmp_path, a_scan(shape=(10, 6, 7)))
    for k, path in enumerate(paths, start=1):
        edit(path, InstanceNumber=k)
    return paths


def test_a_whole_series(tmp_path, paths):
    for path in paths:
        edit(path, ImagesInAcquisition=10, NumberOfSlices=10)
    assert notes_of(tmp_path) == []


@pytest.mark.parametrize("keyword", ["ImagesInAcquisition", "NumberOfSlices"])
def test_a_header_tells_of_more(tmp_path, paths, keyword):
    for path in paths:
        edit(path, **{keyword: 10})
    for path in paths[8:]:
        path.unlink()
    (note,) = notes_of(tmp_path)
    assert "10 images" in note and "8 lie here" in note and keyword in note
    for path in paths[:8]:  # the header of what it was computed from
        edit(path, ImageType=["DERIVED", "SECONDARY"])
    assert notes_of(tmp_path) == []


def test_philips_tells_in_a_tag_of_its_own(tmp_path, paths):
    for path in paths:
        dataset = dcmread(path)
        block = dataset.private_block(0x2001, "Philips Imaging DD 001", create=True)
        block.add_new(0x18, "SL", 12)
        dataset.save_as(path)
    (note,) = notes_of(tmp_path)
    assert "12 images" in note and "10 lie here" in note


def test_numbers_are_a_hint(tmp_path, paths):
    paths[0].unlink()
    (note,) = notes_of(tmp_path)
    assert "begin at 2" in note and "perhaps" in note
    edit(paths[9], InstanceNumber=13)
    (note,) = notes_of(tmp_path)
    assert "begin at 2" in note and "leave out 10, 11, 12" in note


@pytest.mark.parametrize("number", [None, 7])
def test_numbers_that_tell_nothing(tmp_path, paths, number):
    for path in paths:
        edit(path, InstanceNumber=number)
    assert notes_of(tmp_path) == []


def test_echoes_of_one_series_count_together(tmp_path, paths):
    for k, path in enumerate(a_series(tmp_path / "second", a_scan(shape=(10, 6, 7), seed=1))):
        uid = dcmread(paths[0]).SeriesInstanceUID
        study = dcmread(paths[0]).StudyInstanceUID
        edit(path, SeriesInstanceUID=uid, StudyInstanceUID=study, EchoTime=90.0, InstanceNumber=11 + k)
    for path in tmp_path.rglob("*.dcm"):
        edit(path, ImagesInAcquisition=20)
    assert [len(series.frames) for series in list_series(tmp_path)] == [10, 10]
    assert not any("at an end" in note for series in list_series(tmp_path) for note in series.notes)
