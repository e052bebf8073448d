"""Who is who, by names, by a pattern, by a table."""

import pandas as pd
import pytest
from complaints import complaint

from metseg.data.patients import Identity, by_pattern, identify, read_patients, write_table


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
        ("Brats18_2013_11_1", "Brats18_2013_11_1", None),  # a site, no year
        ("BraTS19_CBICA_AAB_1_t1ce", "BraTS19_CBICA_AAB_1", None),
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
