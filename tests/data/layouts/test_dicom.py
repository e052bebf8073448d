"""Studies of DICOM become cases by their headers, or one sentence says why not."""

import shutil
from functools import partial

import numpy as np
import pytest
from complaints import complaint
from dicom_files import a_scan, a_series, edit
from dicom_set import GRID, edit_all, marked, write_reference, write_set, write_study
from pydicom import dcmread
from pydicom.uid import generate_uid
from volume_set import write_volumes

from metseg.data import kept
from metseg.data.cases import find_cases, how_read, list_cases, load_case, load_mask
from metseg.data.check import check_data
from metseg.data.check_people import doubtful
from metseg.data.grid import same_grid, to_axial
from metseg.data.readers.dicom import read_dicom_case
from metseg.data.scan_inputs import open_scan, scan_input_of, scan_inputs


@pytest.fixture(scope="module")
def data_set(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("dicom") / "set")


@pytest.fixture
def layout(tmp_path):
    def write(text):
        (tmp_path / "layout.yml").write_text(text)

    return write


def only(folder, **options):
    (case,) = list_cases(folder, **options)
    return case


# Cases


def test_studies_are_cases(data_set):
    cases = find_cases(data_set)
    assert [case.case_id for case in cases] == ["P1_20240115", "P1_20240501", "P2_20240115", "P3_20240115"]
    assert [case.patient_id for case in cases] == ["P1", "P1", "P2", "P3"]
    assert {case.told_by for case in cases} == {"PatientID"} and doubtful(cases) == []
    text = how_read(cases)
    assert "4 scans of 3 slices; 3 patients, told by PatientID" in text and "lesion (every label)" in text
    assert "t1c is 't1_mprage_Gd' (4)" in text and "'necrosis' (4), 'rim' (4)" in text


def test_a_case_is_what_predict_reads_and_its_reference_what_was_drawn(data_set):
    for case in find_cases(data_set):
        loaded = load_case(case)
        home = case.volumes.home.parent
        (volume,) = read_dicom_case(home).volumes
        assert same_grid(to_axial(volume), loaded.volume, 1e-9)
        given = open_scan(scan_input_of(case))
        assert np.array_equal(given.scan.volume.array, loaded.volume.array)
        assert (given.case_id, given.patient_id, given.visit) == (case.case_id, case.patient_id, case.visit)
        assert loaded.mask.sum() == 24 and np.array_equal(load_mask(case), loaded.mask)
        z, y, x = np.argwhere(loaded.mask).mean(axis=0)
        drawn = np.argwhere(marked() > 0).mean(axis=0)[::-1]
        mm = loaded.volume.affine @ (x, y, z, 1)
        assert np.allclose(mm, a_scan().affine @ (*drawn, 1), atol=1e-9)


def test_all_scans_of_a_data_set_are_given_to_predict(data_set):
    given = scan_inputs(data_set)
    assert [each.case_id for each in given] == [case.case_id for case in list_cases(data_set)]
    assert [(each.patient_id, each.visit) for each in map(open_scan, given)][1:3] == [
        ("P1", "20240501"), ("P2", "20240115"),
    ]  # fmt: skip


def test_check_data_shows_it_and_finds_nothing_wrong(data_set):
    report = check_data(data_set)
    assert report.errors == [] and list(report.cases.lesion_px) == [24] * 4
    assert any("contrast by its header (Gadolinium)" in note for note in report.notes)


def test_all_in_one_folder_is_the_same(data_set, tmp_path):
    for k, path in enumerate(sorted(data_set.rglob("*.dcm"))):
        shutil.copy(path, tmp_path / f"IM{k:04d}")
    for one, other in zip(find_cases(data_set), find_cases(tmp_path), strict=True):
        assert (one.case_id, one.patient_id) == (other.case_id, other.patient_id)
        assert np.array_equal(load_case(one).image, load_case(other).image)
        assert np.array_equal(load_case(one).mask, load_case(other).mask)
    assert doubtful(find_cases(tmp_path)) == []


def test_two_studies_of_a_day_have_names_of_their_own(tmp_path):
    for seed in (0, 1):
        write_study(tmp_path / str(seed), "P/1", seed=seed)
    names = [case.case_id for case in find_cases(tmp_path)]
    assert len(set(names)) == 2 and all(name.startswith("P_1_20240115_") for name in names)


# Which parts are a lesion


def test_parts_are_told_by_name_whatever_their_number(tmp_path):
    write_study(tmp_path / "a")
    write_study(tmp_path / "b", "P2", names=("rim", "necrosis"))
    for case, z in zip(find_cases(tmp_path, target="Rim"), (2, 1), strict=True):
        assert load_case(case).mask.any(axis=(1, 2)).nonzero()[0].tolist() == [z]
    both = find_cases(tmp_path, target="rim+necrosis")
    assert [load_case(case).masks.sum(axis=(1, 2, 3)).tolist() for case in both] == [[12, 12]] * 2
    assert "rim (rim), with necrosis (necrosis)" in how_read(both)
    assert "'necrosis' (2), 'rim' (2)" in complaint(partial(list_cases, target="oedema"), tmp_path)
    assert load_case(find_cases(tmp_path, target="2")[0]).mask.sum() == 12


def test_numbered_parts_are_named_at_once(tmp_path):
    write_study(tmp_path / "a", names=("GTV 1", "GTV_2"))
    for target in ("GTV", "lesion", "GTV 1 + GTV_2"):
        (case,) = find_cases(tmp_path, target=target)
        assert load_case(case).masks.any(axis=0).sum() == 24
    assert "'GTV' (2)" in how_read([case])


def test_layout_says_which_parts_and_a_case_without_one_has_none_of_it(tmp_path, layout):
    layout("labels: {core: [rim], whole: [rim, necrosis]}")
    write_study(tmp_path / "a")
    write_study(tmp_path / "b", "P2", names=("necrosis",), numbers=(1,))
    assert [load_case(case).mask.sum() for case in find_cases(tmp_path)] == [12, 0]
    assert [load_case(case).mask.sum() for case in find_cases(tmp_path, target="whole")] == [24, 12]
    layout("labels: {core: []}")
    assert "labels.core" in complaint(find_cases, tmp_path)
    layout("labels: {core: [rim, necrossis]}")
    assert "called necrossis" in complaint(find_cases, tmp_path)


@pytest.mark.parametrize("name", ["Brain", "Eye_L", "PTV_2mm", "whole brain"])
def test_parts_that_are_no_lesion_by_name_are_asked_for(tmp_path, name):
    write_study(tmp_path / "a", names=("Brain metastasis 1", name))
    assert f"marks 2 '{name}', no lesion" in complaint(find_cases, tmp_path)


def test_parts_that_are_no_lesion_by_type_are_asked_for(tmp_path):
    files = write_study(tmp_path / "a", kind="rtstruct", names=("GTV", "plan"))
    file = dcmread(files["rtstruct"][0])
    file.RTROIObservationsSequence[1].RTROIInterpretedType = "PTV"
    file.save_as(files["rtstruct"][0])
    assert "marks 2 'plan', no lesion" in complaint(find_cases, tmp_path)
    assert load_case(find_cases(tmp_path, target="GTV")[0]).mask.sum() == 12


# References


def test_a_reference_that_is_missing_or_one_of_several_is_named(tmp_path, layout):
    files = write_study(tmp_path / "a")
    edit(files["seg"][0], SeriesDescription="manual")
    other = write_reference(files["t1c"], tmp_path / "a" / "other.dcm", kind="rtstruct")
    text = complaint(find_cases, tmp_path)
    assert "2 references" in text and "'manual'" in text and "layout.yml" in text
    layout("reference: man*")
    assert find_cases(tmp_path)[0].volumes.reference == files["seg"][0]
    layout("reference: '**/other*'")
    assert find_cases(tmp_path)[0].volumes.reference == other
    (tmp_path / "layout.yml").unlink()
    other.unlink()
    files["seg"][0].unlink()
    assert "no reference for P1_20240115; add the SEG" in complaint(find_cases, tmp_path)


def test_a_reference_of_another_frame_or_scan_is_refused(tmp_path):
    files = write_study(tmp_path / "a")
    edit(files["seg"][0], FrameOfReferenceUID=generate_uid())
    assert "another frame of reference" in complaint(load_case, find_cases(tmp_path)[0])
    edit(files["seg"][0], StudyInstanceUID=generate_uid())
    assert "reference without its scan" in how_read(list_cases(tmp_path))


def test_a_reference_with_new_uids_is_paired_by_its_frame(tmp_path):
    files = write_study(tmp_path / "a")
    write_study(tmp_path / "b", "P2")
    edit(files["seg"][0], StudyInstanceUID=generate_uid(), PatientID="")
    cases = find_cases(tmp_path)
    assert cases[0].volumes.reference == files["seg"][0] and "frame of reference told" in how_read(cases)
    assert load_case(cases[0]).mask.sum() == 24


# Sequences


def test_other_series_are_left_out_and_layout_overrules_headers(tmp_path, layout):
    files = write_study(tmp_path / "a")
    who = {"patient_id": "P1", "channel": "t1c"}
    a_series(tmp_path / "a" / "loc", a_scan(("t1c",), shape=GRID), header={
        "SeriesDescription": "localizer", "SeriesInstanceUID": "1.2.9", }, **who)  # fmt: skip
    again = a_series(tmp_path / "a" / "again", a_scan(("t1c",), shape=GRID, seed=9), header={
        "SeriesDescription": "t1 Gd late", "SeriesInstanceUID": "1.2.8"}, **who)  # fmt: skip
    case = only(tmp_path)
    assert case.missing == ("t1c",)
    assert any("2 series may be t1c" in note for note in case.volumes.notes)
    assert any("localiser" in note for note in case.volumes.notes)
    for text, chosen in (("'*late'", again), ("'**/a/t1c'", files["t1c"]), ("T1_mprage_Gd", files["t1c"])):
        layout(f"sequences: {{t1c: {text}}}")
        assert list(only(tmp_path).volumes.sequences["t1c"].files) == chosen
    layout("sequences: {t1c: '*'}")
    assert only(tmp_path).missing == ("t1c",)
    assert any("series fit" in note for note in only(tmp_path).volumes.notes)
    layout("sequences: {t1c: 't1_mprage_Gd', t1: '*Gd'}")
    assert "make the patterns differ" in complaint(list_cases, tmp_path)
    layout("sequences: {t1c: '{patient}/t1c'}")
    assert "leave {patient} out" in complaint(list_cases, tmp_path)


def test_a_series_that_is_no_volume_is_refused_before_it_is_read(tmp_path):
    files = write_study(tmp_path / "a")
    edit(files["t1"][1], ImageOrientationPatient=[1, 0, 0, 0, 0, 1])
    assert "slices of 2 orientations" in complaint(find_cases, tmp_path)
    assert len(check_data(tmp_path).errors) == 1


def test_a_study_without_sequences_is_said(tmp_path):
    write_study(tmp_path / "a")
    files = write_study(tmp_path / "b", "P2", sequences=("t1c",), kind=None)
    edit_all(files["t1c"], SeriesDescription="SWI")
    assert "left out, for no series is any of t1" in how_read(list_cases(tmp_path))
    shutil.rmtree(tmp_path / "a")
    text = complaint(list_cases, tmp_path)
    assert "SWI" in text and "layout.yml" in text


# Whose it is


@pytest.mark.parametrize("name", ["", "ANONYMOUS", "anonymized^", "0000"])
def test_where_there_is_no_patient_id_folders_tell(tmp_path, name):
    for home, seed in (("P1/visit1", 0), ("P1/visit2", 1), ("P2/visit1", 2)):
        write_study(tmp_path / home, name, seed=seed)
    cases = find_cases(tmp_path)
    assert [(case.patient_id, case.visit, case.told_by) for case in cases] == [
        ("P1", "visit1", "folder"), ("P1", "visit2", "folder"), ("P2", "visit1", "folder"),
    ]  # fmt: skip
    assert "PatientID says nothing in 3 studies" in how_read(cases) and doubtful(cases) == []


def test_folders_of_one_name_are_not_one_patient(tmp_path):
    for seed, home in enumerate(("P1/scan", "P2/scan", "P3_visit2/DICOM")):
        write_study(tmp_path / home, "", seed=seed)
    cases = list_cases(tmp_path)
    assert len({case.patient_id for case in cases}) == 3


def test_strangers_in_one_folder_are_doubted(tmp_path):
    for seed in (0, 1):
        for name, paths in write_study(tmp_path / f"tmp{seed}", "", seed=seed).items():
            for path in paths:
                path.rename(tmp_path / f"{seed}_{name}_{path.name}")
    cases = list_cases(tmp_path)
    assert len({case.patient_id for case in cases}) == 2
    (text,) = doubtful(cases)
    assert "no PatientID" in text and "patients.csv" in text
    rows = "".join(f"{case.case_id},P{k}\n" for k, case in enumerate(cases))
    (tmp_path / "patients.csv").write_text("case_id,patient_id\n" + rows)
    assert doubtful(list_cases(tmp_path)) == []


def test_one_id_for_all_is_doubted(tmp_path):
    for seed in range(3):
        write_study(tmp_path / f"P{seed}", "STUDY-7", seed=seed)
    (text,) = doubtful(list_cases(tmp_path))
    assert "all 3 scans have PatientID STUDY-7" in text


def test_an_id_that_holds_a_visit_is_doubted(tmp_path):
    for name in ("P1_visit1", "P1_visit2", "Q1_A", "Q1_B"):
        write_study(tmp_path / name, name)
    (text,) = doubtful(list_cases(tmp_path))
    assert "P1_visit1 and P1_visit2" in text


# Other files


def test_what_else_lies_there_is_said(tmp_path):
    write_study(tmp_path / "a")
    (tmp_path / "a" / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "a" / "IM77").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "a" / "lost.dcm").write_bytes(b"")
    (tmp_path / "a" / "notes.txt").write_text("no DICOM")
    (tmp_path / "a" / "drawn.nii.gz").write_bytes(b"a mask by itself")
    text = how_read(list_cases(tmp_path))
    assert (
        "IM77, lost.dcm" in text and "notes" not in text and "DICOMDIR" not in text and "drawn.nii.gz" in text
    )


def test_volumes_of_nifti_go_before_dicom_and_slices_with_masks_too(tmp_path, write_set):
    write_study(tmp_path / "dicom")
    write_volumes(tmp_path / "nifti")
    assert not any(case.volumes.is_dicom for case in list_cases(tmp_path))
    assert any("DICOM" in note for note in check_data(tmp_path).notes)
    shutil.rmtree(tmp_path / "nifti")
    write_set(tmp_path / "tiff")
    assert all(case.slices for case in list_cases(tmp_path))


def test_headers_are_counted_as_they_are_read(tmp_path):
    write_study(tmp_path / "a")
    seen = []
    list_cases(tmp_path, on_file=lambda *each: seen.append(each))
    assert seen[-1] == (20, 20) and seen == sorted(seen)


def test_headers_are_read_once_until_a_file_changes(tmp_path, monkeypatch):
    (tmp_path / "cache").mkdir()
    monkeypatch.setattr(kept, "hashes_dir", lambda: tmp_path / "cache" / ".hashes")
    files = write_study(tmp_path / "set" / "a")
    seen = []
    first = list_cases(tmp_path / "set", on_file=lambda *each: seen.append(each))
    assert seen and list_cases(tmp_path / "set", on_file=lambda *_: pytest.fail("read again")) == first
    assert first[0].volumes.sequences == list_cases(tmp_path / "set")[0].volumes.sequences
    edit_all(files["t1"], PatientID="P9")
    assert [case.patient_id for case in list_cases(tmp_path / "set")] == ["P1", "P9"]
