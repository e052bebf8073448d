"""A DICOM SEG has each lesion where it was, by our own reading, by highdicom's and by dcmqi's."""

import shutil
import subprocess

import highdicom as hd
import numpy as np
import pytest
import SimpleITK as sitk
from complaints import complaint
from dicom_files import OBLIQUE
from dicom_results import GRID, MADE_BY, complaints_of_dciodvfy, many, one, places_of, several, sources_of

from metseg.data.writers.dicom_seg import read_seg, write_seg


@pytest.mark.parametrize("enhanced", [False, True])
@pytest.mark.parametrize("labels", [one(), several()], ids=["one", "several"])
def test_every_lesion_is_where_it_was(tmp_path, labels, enhanced):
    sources, path = sources_of(tmp_path, enhanced=enhanced), tmp_path / "out" / "seg.dcm"
    order = range(len(labels)) if enhanced else None
    write_seg(labels, OBLIQUE, sources, path, MADE_BY, frame_order=order)
    found = read_seg(path)
    assert {number: voxels for number, (_, voxels) in found.items()} == dict(
        enumerate(np.bincount(labels.ravel())[1:], start=1)
    )
    for number, place in places_of(labels).items():
        np.testing.assert_allclose(found[number][0], place, atol=1e-3)
    seg = hd.seg.segread(path)
    assert seg.FrameOfReferenceUID == sources[0].FrameOfReferenceUID
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == sources[0].SeriesInstanceUID
    assert len({segment.TrackingUID for segment in seg.SegmentSequence}) == labels.max()
    assert not seg.PatientName and str(seg.PatientID) == str(sources[0].PatientID)
    assert complaints_of_dciodvfy(path) == []


@pytest.mark.skipif(shutil.which("segimage2itkimage") is None, reason="dcmqi is not installed")
@pytest.mark.parametrize("enhanced", [False, True])
def test_dcmqi_finds_it_there(tmp_path, enhanced):
    labels, path, order = several(), tmp_path / "seg.dcm", range(GRID[0]) if enhanced else None
    sources = sources_of(tmp_path / "series", enhanced=enhanced)
    write_seg(labels, OBLIQUE, sources, path, MADE_BY, frame_order=order)
    command = ["segimage2itkimage", "-t", "nii", "--inputDICOM", path, "--outputDirectory", tmp_path]
    subprocess.run(command, check=True, capture_output=True)
    for number, place in places_of(labels).items():
        image = sitk.ReadImage(str(tmp_path / f"{number}.nii.gz"))
        voxels = np.argwhere(sitk.GetArrayFromImage(image))
        assert len(voxels) == (labels == number).sum()
        at = image.TransformContinuousIndexToPhysicalPoint(voxels.mean(axis=0)[::-1].tolist())
        np.testing.assert_allclose(np.array(at) * (-1, -1, 1), place, atol=1e-3)


def test_frames_in_another_order_than_the_slices(tmp_path):
    labels, path = several(), tmp_path / "seg.dcm"
    last_first = OBLIQUE @ [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, len(labels) - 1], [0, 0, 0, 1]]
    sources = sources_of(tmp_path / "series", enhanced=True)  # frame 0 is the last of these slices
    write_seg(labels[::-1], last_first, sources, path, MADE_BY, frame_order=range(len(labels))[::-1])
    for number, place in places_of(labels).items():
        np.testing.assert_allclose(read_seg(path)[number][0], place, atol=1e-3)
    line = complaint(write_seg, labels[::-1], last_first, sources, tmp_path / "wrong.dcm", MADE_BY)
    assert "wrong.dcm" in line and "lesion 1" in line
    assert not (tmp_path / "wrong.dcm").exists()


def test_more_lesions_than_8_bits_number(tmp_path):
    write_seg(many(), OBLIQUE, sources_of(tmp_path), tmp_path / "seg.dcm", MADE_BY)
    found = read_seg(tmp_path / "seg.dcm")
    assert len(found) == 300
    for number, place in places_of(many()).items():
        np.testing.assert_allclose(found[number][0], place, atol=1e-3)


def test_no_lesion_is_no_file(tmp_path):
    path = tmp_path / "seg.dcm"
    line = complaint(write_seg, np.zeros(GRID, int), OBLIQUE, sources_of(tmp_path / "s"), path, MADE_BY)
    assert "seg.dcm" in line and "no lesion" in line
    assert not path.exists()
