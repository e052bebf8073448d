"""Results of series whose headers lack, contradict or spell things as real ones do."""

import highdicom as hd
import numpy as np
import pytest
from complaints import complaint
from dicom_files import OBLIQUE, a_scan, a_series, edit
from dicom_results import GRID, MADE_BY, complaints_of_dciodvfy, places_of, several
from pydicom import DataElement, Dataset, dcmread, dcmwrite

from metseg.data.writers.dicom_seg import read_seg, write_seg
from metseg.data.writers.dicom_sources import read_sources
from metseg.data.writers.dicom_sr import Measured, write_sr
from metseg.data.writers.rtstruct import write_rtstruct

SLICE_MM = 2.5  # of OBLIQUE
TYPE_2 = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName", "SliceThickness", "SpacingBetweenSlices",
)  # fmt: skip


def series(folder, *, enhanced=False, **header):
    paths = a_series(folder / "series", a_scan(shape=GRID, affine=OBLIQUE), enhanced=enhanced)
    for path in paths:
        edit(path, **header)
    return paths


def written(folder, paths, *, order=None) -> list[Dataset]:
    """SEG, SR and, of classic files, RTSTRUCT; each valid."""
    sources, labels = read_sources(paths, SLICE_MM), several()
    targets = [folder / f"{name}.dcm" for name in ("seg", "sr", "rtstruct")]
    seg = write_seg(labels, OBLIQUE, sources, targets[0], MADE_BY, frame_order=order)
    write_sr([Measured(1, 2, 3)] * labels.max(), seg, sources, targets[1], MADE_BY)
    if order is None:
        write_rtstruct(labels, OBLIQUE, sources, targets[2], MADE_BY)
    found = [target for target in targets if target.exists()]
    assert [complaints_of_dciodvfy(path) for path in found] == [[]] * len(found)
    return [dcmread(path) for path in found]


@pytest.mark.parametrize(
    ("alphabet", "name", "patient_id"),
    [
        ("ISO_IR 192", "山田^太郎", "ж1"),
        ("ISO_IR 144", "Иванов^Иван", "ж1"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう", "1"),
        ("", "Smith^J", "1"),
    ],
)
def test_results_are_the_patients_whatever_the_alphabet(tmp_path, alphabet, name, patient_id):
    spelt = {"SpecificCharacterSet": alphabet, "PatientName": name, "PatientID": patient_id}
    for result in written(tmp_path, series(tmp_path, **spelt)):
        assert (str(result.PatientName), result.PatientID) == (name, patient_id)


def test_what_may_be_empty_may_be_absent(tmp_path):
    for result in written(tmp_path, series(tmp_path, **dict.fromkeys(TYPE_2))):
        assert not result.PatientName and not result.StudyDate


def test_old_files_without_a_preamble(tmp_path):
    paths = series(tmp_path)
    for path in paths:
        dcmwrite(path, Dataset(dcmread(path)), implicit_vr=True, little_endian=True)
    assert len(written(tmp_path, paths)) == 3


@pytest.mark.parametrize("enhanced", [False, True])
@pytest.mark.parametrize("told", [5.0, 0.0])
def test_slices_lie_as_their_positions_say(tmp_path, told, enhanced):
    """Programs lay a SEG's frames out by this number: the lesions would be elsewhere."""
    paths = series(tmp_path, enhanced=enhanced, **({} if enhanced else {"SpacingBetweenSlices": told}))
    if enhanced:
        (path,) = paths
        shared = dcmread(path).SharedFunctionalGroupsSequence
        shared[0].PixelMeasuresSequence[0].SpacingBetweenSlices = told
        edit(path, SharedFunctionalGroupsSequence=shared)
    written(tmp_path, paths, order=range(GRID[0]) if enhanced else None)
    volume = hd.seg.segread(tmp_path / "seg.dcm").get_volume(combine_segments=True)
    assert volume.spacing == pytest.approx((2.5, 1.2, 0.8))
    for number, place in places_of(several()).items():
        np.testing.assert_allclose(read_seg(tmp_path / "seg.dcm")[number][0], place, atol=1e-3)


def test_geometry_told_frame_by_frame(tmp_path):
    (path,) = series(tmp_path, enhanced=True)
    dataset = dcmread(path)
    shared, frames = dataset.SharedFunctionalGroupsSequence[0], dataset.PerFrameFunctionalGroupsSequence
    for name in ("PixelMeasuresSequence", "PlaneOrientationSequence"):
        for frame in frames:
            frame[name] = DataElement(name, "SQ", shared[name].value)
        del shared[name]
    dataset.save_as(path)
    written(tmp_path, [path], order=range(GRID[0]))
    for number, place in places_of(several()).items():
        np.testing.assert_allclose(read_seg(tmp_path / "seg.dcm")[number][0], place, atol=1e-3)


def test_what_a_result_must_refer_to(tmp_path):
    paths = series(tmp_path, FrameOfReferenceUID=None)
    line = complaint(read_sources, paths, SLICE_MM)
    assert "FrameOfReferenceUID" in line and str(paths[0]) in line


def test_a_header_that_highdicom_refuses(tmp_path):
    sources = read_sources(series(tmp_path), SLICE_MM)
    del sources[0].PatientName
    path = tmp_path / "seg.dcm"
    assert "seg.dcm" in complaint(write_seg, several(), OBLIQUE, sources, path, MADE_BY)
    assert not path.exists()
