"""What the phantom writes as DICOM is read by others as well, at the same place."""

import numpy as np
import pytest
import SimpleITK as sitk
from complaints import complaint
from dicom_files import OBLIQUE, a_scan, a_series
from pydicom import dcmread

from metseg.data.phantom.dicom import write_dicom_series
from metseg.data.readers.dicom import list_series, read_series
from metseg.data.volume import Volume


@pytest.mark.parametrize("enhanced", [False, True])
def test_itk_reads_the_same_scan(tmp_path, enhanced):
    scan = a_scan(affine=OBLIQUE)
    files = [str(path) for path in a_series(tmp_path, scan, enhanced=enhanced)]
    image = sitk.ReadImage(files[0] if enhanced else files)
    lps = np.diag([-1, -1, 1, 1]) @ scan.affine
    assert (sitk.GetArrayFromImage(image) == scan.array[0]).all()
    for voxel in ((0, 0, 0), (6, 5, 4), (3, 1, 2)):
        expected = (lps @ (*voxel, 1))[:3]
        np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(voxel), expected, atol=1e-3)


@pytest.mark.parametrize(
    ("dtype", "exact"), [(np.uint8, True), (np.int16, True), (np.int32, False), (np.float32, False)]
)
def test_values_survive(tmp_path, dtype, exact):
    array = (np.random.default_rng(0).normal(0, 50, (1, 3, 4, 5)) * (1 if exact else 1e4) + 128).astype(dtype)
    a_series(tmp_path, Volume(array, ("t2",), affine=np.eye(4)))
    (series,) = list_series(tmp_path)
    volume, _ = read_series(series)
    assert (volume.array.dtype.kind in "iu") == exact
    np.testing.assert_allclose(volume.array, array, atol=0 if exact else np.ptp(array) / 65_535)


def test_the_same_seed_gives_the_same_files(tmp_path):
    first, again, other = (
        [path.read_bytes() for path in a_series(tmp_path / name, seed=seed)]
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert first == again != other


def test_channels_share_study_and_frame_of_reference(tmp_path):
    scan = a_scan(("t1", "t1c"))
    one, two = (dcmread(a_series(tmp_path, scan, channel=name)[0]) for name in scan.channels)
    assert one.StudyInstanceUID == two.StudyInstanceUID
    assert one.FrameOfReferenceUID == two.FrameOfReferenceUID
    assert one.SeriesInstanceUID != two.SeriesInstanceUID
    assert one.SOPInstanceUID != two.SOPInstanceUID
    assert not one.PatientName


@pytest.mark.parametrize("enhanced", [False, True])
def test_highdicom_takes_it_as_a_source(tmp_path, enhanced):
    from highdicom.spatial import get_series_volume_positions, get_volume_positions

    scan = a_scan(affine=OBLIQUE)
    sources = [dcmread(path) for path in a_series(tmp_path, scan, enhanced=enhanced)]
    if enhanced:
        frames = sources[0].PerFrameFunctionalGroupsSequence
        positions = [frame.PlanePositionSequence[0].ImagePositionPatient for frame in frames]
        shared = sources[0].SharedFunctionalGroupsSequence[0]
        cosines = shared.PlaneOrientationSequence[0].ImageOrientationPatient
        spacing, order = get_volume_positions(positions, cosines)
    else:
        spacing, order = get_series_volume_positions(sources)
    assert spacing == pytest.approx(scan.spacing_mm[0], abs=1e-3)
    assert sorted(order) == list(range(5))


@pytest.mark.parametrize(
    "affine", [None, np.array([[1, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])]
)
def test_what_dicom_cannot_express_is_refused(tmp_path, affine):
    volume = Volume(np.zeros((1, 2, 3, 4), np.uint8), ("t1",), affine=affine)
    assert "affine" in complaint(write_dicom_series, volume, tmp_path) or affine is not None
    assert not list(tmp_path.iterdir())
