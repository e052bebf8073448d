"""Images that share a place: complete stacks are split, copies left out, all else is refused."""

import shutil

import pytest
from complaints import complaint
from dicom_files import a_scan, a_series, edit
from pydicom import dcmread
from pydicom.uid import generate_uid

from metseg.base.errors import MetsegError
from metseg.data.readers.dicom import list_series, read_series
from metseg.data.readers.dicom_headers import read_frames
from metseg.data.readers.dicom_stacks import pixels_to_compare, without_copies


def test_copies_of_slices_are_left_out_and_counted(tmp_path):
    scan = a_scan()
    paths = a_series(tmp_path, scan)
    shutil.copy(paths[1], tmp_path / "copy.dcm")
    shutil.copy(paths[4], tmp_path / "another.dcm")
    (series,) = list_series(tmp_path)
    volume, (note,) = read_series(series)
    assert (volume.array == scan.array).all()
    assert "2 copies" in note


def test_different_images_at_one_position_are_refused(tmp_path):
    paths = a_series(tmp_path)
    (tmp_path / "more").mkdir()
    other = tmp_path / "more" / "other.dcm"
    shutil.copy(paths[1], other)
    edit(other, PixelData=dcmread(paths[2]).PixelData, SOPInstanceUID=generate_uid(), EchoTime=80)
    (series,) = list_series(tmp_path)
    text = complaint(read_series, series)
    assert "2 different images" in text and "echo time (3, 80)" in text and "other.dcm" in text


def test_what_is_not_to_be_decoded_is_not_compared(tmp_path):
    paths = a_series(tmp_path)
    frames = [frame for path in paths for frame in read_frames(path)[0]]
    assert pixels_to_compare(frames) == 0 and without_copies(frames, compare=False) == (frames, [])
    twice = [*frames, *read_frames(shutil.copy(paths[1], tmp_path / "copy.dcm"))[0]]
    assert pixels_to_compare(twice) == 2 * 6 * 7 and len(without_copies(twice)[0]) == 5
    with pytest.raises(MetsegError, match="shared positions"):
        without_copies(twice, compare=False)


@pytest.mark.parametrize(
    ("keyword", "values", "parts"),
    [
        ("EchoTime", (12, 96), {"echo time 12", "echo time 96"}),
        ("TemporalPositionIdentifier", (1, 2), {"time point 1", "time point 2"}),
        ("DiffusionBValue", (0.0, 1000.0), {"b-value 0", "b-value 1000"}),
    ],
)
def test_complete_stacks_of_one_series_are_split(tmp_path, keyword, values, parts):
    for k, value in enumerate(values):
        for path in a_series(tmp_path / str(k), a_scan(seed=k)):
            edit(path, **{keyword: value}, SOPInstanceUID=generate_uid())
    found = list_series(tmp_path)
    assert {series.part for series in found} == parts
    assert len({series.uid for series in found}) == 1 and len({series.key for series in found}) == 2
    arrays = [read_series(series)[0].array for series in found]
    assert {array.tobytes() for array in arrays} == {a_scan(seed=k).array.tobytes() for k in (0, 1)}
    assert all(series.part in " ".join(series.notes) for series in found)


def test_two_values_may_tell_stacks_apart(tmp_path):
    """Echoes, each as magnitude and phase."""
    for k, (echo, kind) in enumerate([(12, "M"), (12, "P"), (96, "M"), (96, "P")]):
        for path in a_series(tmp_path / str(k), a_scan(seed=k)):
            edit(path, EchoTime=echo, ImageType=["ORIGINAL", "PRIMARY", kind], SOPInstanceUID=generate_uid())
    found = {series.part: series for series in list_series(tmp_path)}
    assert len(found) == 4
    last = found["echo time 96 image type ORIGINAL/PRIMARY/P"]
    assert (read_series(last)[0].array == a_scan(seed=3).array).all()
    assert last.sequence == "unknown"


def test_many_time_points_are_no_scan(tmp_path):
    for k in range(10):
        for path in a_series(tmp_path / str(k), a_scan(shape=(2, 3, 4), seed=k)):
            edit(path, TemporalPositionIdentifier=k + 1, SOPInstanceUID=generate_uid())
    (series,) = list_series(tmp_path)
    assert "10 different images" in series.refusal and "time point" in series.refusal
