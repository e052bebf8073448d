"""Who is who, by names, by a pattern, by a table; and who is doubted."""

import pandas as pd
import pytest
from complaints import complaint

from metseg.data.patients import (
    Identity,
    by_pattern,
    differing_by_zeros,
    doubtful_people,
    identify,
    read_patients,
    write_table,
)


@pytest.mark.parametrize(
    ("case_id", "patient_id", "visit"),
    [
        ("TCGA_CS_4941_19960909", "TCGA_CS_4941", "19960909"),
        ("TCGA_CS_4941", "TCGA_CS_4941", None),
        ("BraTS-MET-00086-001", "BraTS-MET-00086", "001"),
        ("BraTS-GLI-00001-000", "BraTS-GLI-00001", "000"),
        ("BraTS-MET-00086-001-t1c", "BraTS-MET-00086", "001"),
        ("BraTS20_Training_001", "BraTS20_Training_001", None),
        ("BraTS2021_00002_flair", "BraTS2021_00002", None),
        ("sub-01", "sub-01", None),
        ("sub-01_ses-1", "sub-01", "ses-1"),
        ("sub-01_ses-1_acq-3d_T1w", "sub-01", "ses-1"),
        ("100101A", "100101", "A"),
        ("PHANTOM_0007_20000101", "PHANTOM_0007", "20000101"),
        ("P1_2024-01-15", "P1", "2024-01-15"),
        ("P1_2024-00-15", "P1", "2024-00-15"),  # made unreal to protect somebody
        ("P1_20240115", "P1", "20240115"),
        ("P1.2024.01.15", "P1", "2024.01.15"),
        ("P1_visit2", "P1", "visit2"),
        ("Patient1-baseline", "Patient1", "baseline"),
        ("P1_fu_3", "P1", "fu_3"),
        ("P1_v2", "P1", "v2"),
        ("P1_scan2", "P1", "scan2"),
        ("002_flair", "002", None),
        ("002_t1ce", "002", None),
        ("P1_2024-01-15_flair", "P1", "2024-01-15"),
        ("P7_visit1_2020_01_02", "P7", "visit1_2020_01_02"),
        ("20240115_P1", "P1", "20240115"),
        ("baseline_P1", "P1", "baseline"),
        ("TCGA_CS_4941_19960909_t2", "TCGA_CS_4941", "19960909"),
        # What tells no visit is somebody's whole name.
        ("patient7", "patient7", None),
        ("patient_1234567", "patient_1234567", None),  # seven digits are no date
        ("TCGA_CS_4941_19960909_2", "TCGA_CS_4941_19960909_2", None),
        ("_19960909", "_19960909", None),
        ("cohort_scan2", "cohort_scan2", None),  # else all scans of a cohort would be one person's
        ("visit2", "visit2", None),
        ("site1_11", "site1_11", None),
    ],
)
def test_person_and_visit_by_the_name(case_id, patient_id, visit):
    assert identify(case_id)[:2] == (patient_id, visit)


def test_a_pattern_tells_person_and_visit():
    pattern = r"(?P<patient>[A-Z]{3})(?P<visit>\d)"
    assert by_pattern("ABC2_x", pattern) == Identity("ABC", "2", "pattern")
    assert by_pattern("7x", r"(?P<patient>\d)") == Identity("7", None, "pattern")
    for wrong in ("(", r"\d", r"(?P<patient>z)", "(?P<patient>)"):
        assert repr(wrong) in complaint(by_pattern, "ABC2", wrong)


@pytest.mark.parametrize("between", [",", ";"])
def test_a_table_says_who_is_who(tmp_path, between):
    path = tmp_path / "patients.csv"
    rows = ["case_id,patient_id,visit", "A,anna,1", "B,anna,", "C,00100", ""]
    path.write_text("\n".join(rows).replace(",", between), encoding="utf-8-sig")
    assert read_patients(path) == {
        "A": Identity("anna", "1", "patients.csv"),
        "B": Identity("anna", None, "patients.csv"),
        "C": Identity("00100", None, "patients.csv"),
    }


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "case_id"),
        ("case,patient_id\nA,anna\n", "case_id"),
        ("case_id,patient_id\nA,\n", "row 2"),
        ("case_id,patient_id\nA,anna\nA,bob\n", "A"),
        (b"case_id,patient_id\nA,Ren\xe9\n", "UTF-8"),
        ('case_id,patient_id\nA,"anna\nB,anna\n', "quotes"),  # else the rest is one cell
        ("case_id,patient_id\nA,Doe, John\n", "row 2"),
        ('case_id,patient_id\nA,"Doe\nJohn"\n', "row 2"),
        ("case_id,patient_id,patient_id\nA,anna,bob\n", "patient_id"),
    ],
)
def test_a_wrong_table_is_one_sentence(tmp_path, text, named):
    path = tmp_path / "patients.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    text = complaint(read_patients, path)
    assert str(path) in text and named in text


def test_a_table_that_was_written_is_read_and_never_overwritten(tmp_path):
    table = pd.DataFrame({"case_id": ["A", "B"], "patient_id": ["anna", "bob"], "visit": [None, "2"]})
    write_table(table, tmp_path / "patients.csv")
    assert [who[:2] for who in read_patients(tmp_path / "patients.csv").values()] == [
        ("anna", None),
        ("bob", "2"),
    ]
    assert "patients.csv" in complaint(write_table, table, tmp_path / "patients.csv")


def doubts(*case_ids: str, folders=None) -> list[str]:
    people = {case_id: identify(case_id) for case_id in case_ids}
    return doubtful_people(people, {case_id: (folders or {}).get(case_id, ()) for case_id in case_ids})


@pytest.mark.parametrize(
    "case_ids",
    [
        ("P1_A", "P1_B", "P2_A"),
        ("00086-000", "00086-001", "00087-000"),
        ("0007a", "0007b", "0008a"),
        ("anna", "anna_again", "bob"),
        ("P1", "P1_2nd", "P2"),
        ("P1_x_1", "P1_y_1", "P2_x_1"),
        ("P1v1", "P1v2", "P2"),
        ("Smith_pre", "Smith_post", "Mueller_x"),
        ("Mueller_1", "Mueller_2", "Smith_1"),
        ("CS_4941", "cs4941", "P1"),
        ("A_P1", "B_P1", "C_Q2"),
        ("M\u00fcller", "Mu\u0308ller", "P1"),  # one letter, or two
        ("P1(1)", "P1(2)", "P2"),
    ],
)
def test_names_that_share_a_stem_are_doubted(case_ids):
    (text,) = doubts(*case_ids)
    assert case_ids[0] in text and case_ids[1] in text and case_ids[2] not in text


@pytest.mark.parametrize(
    "case_ids",
    [
        ("TCGA_CS_4941", "TCGA_CS_4942", "TCGA_DU_4941"),
        ("TEST_0001_20000101", "TEST_0002_20000101"),
        ("BraTS20_Training_001", "BraTS20_Training_002", "P9"),
        ("P1", "P10", "P2"),
        ("study2024_01", "study2024_02", "study2024_03"),  # of the set, for all have it
        ("cohort_anna", "cohort_bob", "cohort_eve"),
        ("P1_visit1", "P1_visit2", "P2_visit1"),  # one person already
    ],
)
def test_names_of_different_people_are_not(case_ids):
    assert doubts(*case_ids) == []


def test_one_persons_visits_alone_are_doubted():
    assert len(doubts("P1_A", "P1_B", "P1_C")) == 1


def test_people_in_one_folder_are_doubted():
    own = {"A": ("Patient1",), "B": ("Patient1",), "C": ("Patient2",)}
    (text,) = doubts("A", "B", "C", folders=own)
    assert "A and B" in text and "Patient1" in text
    deeper = {"A": ("Patient1", "left"), "B": ("Patient1", "right"), "C": ("Patient2", "left")}
    assert len(doubts("A", "B", "C", folders=deeper)) == 1
    assert doubts("A", "B", "C", folders=dict.fromkeys("ABC", ("scans",))) == []  # all lie there


def test_whom_a_table_names_is_not_doubted():
    people = {"P1_A": Identity("P1_A", None, "patients.csv"), "P1_B": Identity("P1_B", None, "patients.csv")}
    people |= {"P2": identify("P2"), "P3": identify("P3")}
    assert doubtful_people(people, dict.fromkeys(people, ())) == []


def test_a_scan_that_the_table_forgets_is_doubted():
    people = {"P1_A": Identity("P1", None, "patients.csv"), "P1_B": Identity("P1", None, "patients.csv")}
    people |= {"P1_C": identify("P1_C"), "P2": identify("P2")}
    (text,) = doubtful_people(people, dict.fromkeys(people, ()))
    assert "P1 and P1_C" in text


def test_names_that_differ_by_zeros_alone():
    names = ["CS_4941", "cs4941", "P1", "P01", "site1_11", "site11_1"]
    assert differing_by_zeros(names) == [["P01", "P1"]]
