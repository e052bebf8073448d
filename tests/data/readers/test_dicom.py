"""A visit's sequences become one volume where they lie on one grid; what was taken for what is told."""

import numpy as np
import pytest
from complaints import complaint
from dicom_files import OBLIQUE, a_scan, a_series

from metseg.data.readers.dicom import list_series, read_dicom_case

SEQUENCES = ("t1", "t1c", "t2", "flair")


@pytest.fixture
def visit(tmp_path):
    """One folder with four sequences on an oblique grid, and the scan."""
    scan = a_scan(SEQUENCES, affine=OBLIQUE)
    for channel in SEQUENCES:
        a_series(tmp_path, scan, channel=channel, patient_id="P1", visit="20240115")
    return tmp_path, scan


def uids(folder) -> dict[str, str]:
    return {series.sequence: series.uid for series in list_series(folder)}


def test_four_sequences_become_four_channels(visit):
    folder, scan = visit
    case = read_dicom_case(folder)
    (volume,) = case.volumes
    assert volume.channels == SEQUENCES
    assert (case.patient_id, case.visit) == ("P1", "20240115")
    assert (volume.array == scan.array).all()
    np.testing.assert_allclose(volume.affine, scan.affine, atol=1e-9)
    for sequence, series in case.series.items():
        assert any(note.startswith(f"{sequence} is") and series.uid in note for note in case.notes)


def test_sequences_on_different_grids_stay_apart(visit):
    folder, scan = visit
    for path in list_series(folder)[2].files:
        path.unlink()
    coarse = a_scan(("t2",), shape=(3, 4, 4), affine=OBLIQUE @ np.diag([2, 2, 2, 1]))
    a_series(folder, coarse, channel="t2", patient_id="P1", visit="20240115")
    fine, other = read_dicom_case(folder).volumes
    assert fine.channels == ("t1", "t1c", "flair") and other.channels == ("t2",)
    assert (other.array == coarse.array).all()
    assert any("2 grids" in note for note in read_dicom_case(folder).notes)


def test_a_grid_that_is_shifted_is_another(visit):
    folder, scan = visit
    moved = scan.affine.copy()
    moved[0, 3] += 0.5
    for path in list_series(folder)[2].files:
        path.unlink()
    a_series(folder, a_scan(("t2",), affine=moved), patient_id="P1", visit="20240115")
    assert len(read_dicom_case(folder).volumes) == 2


@pytest.mark.parametrize("how", ["uid", "folder", "file", "description"])
def test_what_the_user_says_goes_first(tmp_path, how):
    for k, name in enumerate(("A", "B")):
        header = {"SeriesDescription": f"Brain {name}"}
        a_series(tmp_path / name, a_scan(("t1", "t2"), seed=k), channel=("t1", "t2")[k], header=header)
    series = {each.description: each for each in list_series(tmp_path)}
    value = {
        "uid": series["Brain A"].uid,
        "folder": tmp_path / "A",
        "file": series["Brain A"].files[2],
        "description": "Brain A",
    }[how]
    case = read_dicom_case(tmp_path, {"t1c": value})
    assert (case.volumes[0].array[0] == a_scan(("t1", "t2"), seed=0).array[0]).all()
    assert case.volumes[0].channels[0] == "t1c"
    assert any("as you say" in note for note in case.notes)


def test_what_the_user_says_must_mean_one_series(visit):
    folder, _ = visit
    known = uids(folder)
    for wanted in ({"t1c": "1.2.3"}, {"t1c": str(folder)}):
        text = complaint(read_dicom_case, folder, wanted)
        assert all(uid in text for uid in known.values())
    assert "adc" in complaint(read_dicom_case, folder, {"adc": known["t1"]})
    assert "t1c" in complaint(read_dicom_case, folder, {"t1": known["t2"], "t1c": known["t2"]})


def test_of_two_candidates_none_is_taken(visit):
    folder, scan = visit
    case_uid = uids(folder)["t1c"]
    a_series(
        folder / "again",
        scan,
        channel="t1c",
        patient_id="P1",
        visit="20240115",
        header={"SeriesInstanceUID": "1.2.3"},
    )
    case = read_dicom_case(folder)
    assert case.volumes[0].channels == ("t1", "t2", "flair")
    for uid in ("1.2.3", case_uid):
        assert any(uid in note and "2 series may be t1c" in note for note in case.notes)
    assert read_dicom_case(folder, {"t1c": "1.2.3"}).series["t1c"].uid == "1.2.3"


def test_the_original_goes_before_its_reformats(visit):
    folder, scan = visit
    original = uids(folder)["t1c"]
    header = {"SeriesInstanceUID": "1.2.3", "ImageType": ["DERIVED", "SECONDARY", "MPR"]}
    a_series(folder / "again", scan, channel="t1c", patient_id="P1", visit="20240115", header=header)
    case = read_dicom_case(folder)
    assert case.series["t1c"].uid == original
    assert any("1.2.3" in note and "Left out" in note for note in case.notes)


def test_what_is_unknown_is_left_out_and_said(visit):
    folder, scan = visit
    a_series(
        folder / "again",
        scan,
        channel="t2",
        patient_id="P1",
        visit="20240115",
        header={"SeriesDescription": "ADC map", "SeriesInstanceUID": "1.2.4"},
    )
    (note,) = [note for note in read_dicom_case(folder).notes if "1.2.4" in note]
    assert "ADC map" in note and "Left out" in note


def test_no_known_sequence_is_refused_by_what_is_there(tmp_path):
    a_series(tmp_path, header={"SeriesDescription": "Brain", "RepetitionTime": 100})
    a_series(tmp_path / "b", header={"SeriesDescription": "Brain", "InversionTime": 50})
    text = complaint(read_dicom_case, tmp_path / "b")
    assert "Brain" in text and list_series(tmp_path / "b")[0].uid in text


def test_a_wanted_sequence_with_a_gap_is_refused(visit):
    folder, _ = visit
    list_series(folder)[1].files[2].unlink()
    assert "lacks 1 slice" in complaint(read_dicom_case, folder)


def test_several_patients_and_visits_are_refused(visit):
    folder, scan = visit
    a_series(folder / "next", scan, channel="t1c", patient_id="P1", visit="20240601")
    text = complaint(read_dicom_case, folder)
    assert "20240115" in text and "20240601" in text
    later = next(series for series in list_series(folder) if series.visit == "20240601")
    case = read_dicom_case(folder, {"t1c": later.uid})  # which visit is meant is told by that
    assert (case.visit, list(case.series)) == ("20240601", ["t1c"])
    a_series(folder / "other", scan, channel="t1c", patient_id="P2", visit="20240115")
    text = complaint(read_dicom_case, folder)
    assert "P1" in text and "P2" in text


def test_several_frames_of_reference_are_said(visit):
    folder, scan = visit
    for path in list_series(folder)[1].files:
        path.unlink()
    header = {"FrameOfReferenceUID": "1.2.5"}
    a_series(folder, scan, channel="t1c", patient_id="P1", visit="20240115", header=header)
    assert any("frames of reference" in note for note in read_dicom_case(folder).notes)
