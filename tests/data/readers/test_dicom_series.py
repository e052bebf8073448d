"""Series are found by their UIDs, split where a value tells, and what is no scan is said."""

import numpy as np
import pytest
from complaints import complaint
from dicom_files import a_scan, a_series, edit
from pydicom import Dataset, FileMetaDataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from metseg.data.readers.dicom import list_series, read_series


def test_what_is_listed_of_a_series(tmp_path):
    a_series(tmp_path, patient_id="P7", visit="20240301")
    (series,) = list_series(tmp_path)
    assert (series.patient_id, series.visit, series.modality) == ("P7", "20240301", "MR")
    assert (series.description, series.sequence) == ("t1_mprage", "t1")
    assert series.uid == dcmread(series.files[0]).SeriesInstanceUID
    assert len(series.files) == 5


def test_no_name_is_kept(tmp_path):
    a_series(tmp_path, header={"PatientName": "Doe^Jane", "ReferringPhysicianName": "Roe^Richard"})
    (series,) = list_series(tmp_path)
    assert "Doe" not in repr(series) and "Roe" not in repr(series)


def test_series_of_one_folder_are_told_apart(tmp_path):
    scan = a_scan(("t1", "t2"))
    t1, t2 = (a_series(tmp_path, scan, channel=channel) for channel in scan.channels)
    found = list_series(tmp_path)
    assert [set(series.files) for series in found] == [set(t1), set(t2)]
    for k, series in enumerate(found):
        assert (read_series(series)[0].array[0] == scan.array[k]).all()
    assert [series.uid for series in list_series(t2)] == [found[1].uid]  # files, not a folder


def an_object(path, sop_class: str, **values) -> None:
    """A DICOM object that is no image."""
    dataset, meta = Dataset(), FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, sop_class
    dataset.file_meta, dataset.SOPClassUID, dataset.SOPInstanceUID = meta, sop_class, generate_uid()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path, enforce_file_format=True)


def test_what_is_no_scan_is_skipped_and_said(tmp_path):
    a_series(tmp_path)
    objects = {
        "report": "1.2.840.10008.5.1.4.1.1.88.33",
        "contours": "1.2.840.10008.5.1.4.1.1.481.3",
        "letter": "1.2.840.10008.5.1.4.1.1.104.1",
        "DICOMDIR": "1.2.840.10008.1.3.10",
    }
    for name, sop_class in objects.items():
        an_object(tmp_path / name, sop_class)
    an_object(tmp_path / "mask", "1.2.840.10008.5.1.4.1.1.66.4", Rows=6, Columns=7, Modality="SEG")
    (tmp_path / "notes.txt").write_text("not DICOM")
    (tmp_path / "empty.dcm").touch()
    (tmp_path / "cut.dcm").write_bytes((tmp_path / "t1_0001.dcm").read_bytes()[:200])
    (series,) = list_series(tmp_path)
    assert len(series.files) == 5
    told = "\n".join(read_series(series)[1])
    for name in (*objects, "mask", "notes.txt", "empty.dcm", "cut.dcm"):
        assert name in told
    for kind in ("SR", "Structure Set", "PDF", "SEG", "no DICOM file"):
        assert kind in told


def test_a_folder_without_a_scan_is_refused_by_what_it_holds(tmp_path):
    (tmp_path / "notes.txt").write_text("not DICOM")
    assert "notes.txt" in complaint(list_series, tmp_path)
    assert "missing.dcm" in complaint(list_series, [tmp_path / "missing.dcm"])


def test_other_modalities_are_said(tmp_path):
    a_series(tmp_path, header={"Modality": "CT"})
    (series,) = list_series(tmp_path)
    assert series.sequence == "unknown" and "CT" in series.by
    assert "CT" in read_series(series)[1][0]


@pytest.mark.parametrize(
    ("header", "word"),
    [
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}, "RGB"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "PALETTE"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, "mosaic"),
        ({"RescaleSlope": 0}, "slope"),
    ],
)
def test_pictures_that_are_no_slices_are_refused(tmp_path, header, word):
    for path in a_series(tmp_path):
        edit(path, **header)
    (series,) = list_series(tmp_path)
    assert word in complaint(read_series, series)


def test_an_unknown_patient_is_said(tmp_path):
    a_series(tmp_path, header={"PatientID": ""})
    (series,) = list_series(tmp_path)
    assert series.patient_id == "" and "PatientID" in series.notes[0]


def test_several_frames_of_reference_are_said(tmp_path):
    edit(a_series(tmp_path)[2], FrameOfReferenceUID="1.2.3")
    (series,) = list_series(tmp_path)
    assert any("frames of reference" in note for note in series.notes)


def test_the_same_series_of_two_patients_stays_apart(tmp_path):
    """Anonymised carelessly, two people may share a UID."""
    for k, patient in enumerate(("A", "B")):
        a_series(tmp_path / patient, a_scan(seed=k), header={"PatientID": patient})
    found = list_series(tmp_path)
    assert [series.patient_id for series in found] == ["A", "B"]
    assert not np.array_equal(*(read_series(series)[0].array for series in found))


def test_a_slice_of_very_many_pixels_is_refused_by_its_header(tmp_path):
    edit(a_series(tmp_path, a_scan(shape=(1, 6, 7)))[0], Rows=4097, Columns=4096)
    (series,) = list_series(tmp_path)
    assert "pixels" in series.refusal
