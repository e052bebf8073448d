"""`check_data` tells of everything that is wrong, at once."""

import numpy as np
import pytest
import tifffile

from metseg.base.errors import MetsegError
from metseg.data.check import check_data
from metseg.data.provenance import LGG, OWN, PHANTOM, institution_of, provenance_of

CASE = "TCGA_CS_0001_19990101"
OTHER = "TCGA_CS_0002_19990102"


def test_a_sound_set_has_no_findings_and_its_table_is_counted_right(tmp_path, write_set):
    report = check_data(write_set(tmp_path))
    assert report.findings == ()
    assert report.cases.to_dict("records") == [
        {
            "case_id": CASE,
            "patient_id": "TCGA_CS_0001",
            "visit": "19990101",
            "told_by": "TCGA",
            "slices": 2,
            "tumour_slices": 1,
            "lesion_px": 9,
            "height": 24,
            "width": 32,
            "spacing_mm": None,
            "missing": "",
        },
        {
            "case_id": OTHER,
            "patient_id": "TCGA_CS_0002",
            "visit": "19990102",
            "told_by": "TCGA",
            "slices": 3,
            "tumour_slices": 2,
            "lesion_px": 41,
            "height": 24,
            "width": 32,
            "spacing_mm": None,
            "missing": "",
        },
    ]
    assert report.provenance is LGG


def test_all_problems_are_told_in_one_report_errors_first(tmp_path, write_set, write_slice, noise, square):
    write_set(tmp_path)
    (tmp_path / CASE / f"{CASE}_1_mask.tif").unlink()
    (tmp_path / CASE / f"{CASE}_2.tif").unlink()
    (tmp_path / OTHER / f"{OTHER}_2.tif").write_bytes(b"")
    (tmp_path / OTHER / f"{OTHER}_3_mask.tif").write_bytes(b"")
    write_slice(tmp_path, "TCGA_BB_0003_1", noise(30), square(0))
    write_slice(tmp_path, "TCGA_BB_0003_4", noise(31), square(0))
    write_slice(tmp_path, "TCGA_CC_0004_1", noise(30), square(2))  # a slice of TCGA_BB_0003
    write_slice(tmp_path, "TCGA_CC_0004_2", noise(32), square(2))
    write_slice(tmp_path, "TCGA_CC_0004_3", noise(32), square(2))  # twice in the same patient
    write_slice(tmp_path, "tcga-cc-0004_1", noise(33), square(2))  # another spelling
    flair_only = np.repeat(noise(34)[..., 1:2], 3, axis=2)
    write_slice(tmp_path, "TCGA_DD_0005_1", flair_only, square(2))
    write_slice(tmp_path, "TCGA_DD_0005_2", noise(35, (20, 20)), square(2, (20, 20)))
    write_slice(tmp_path, "TCGA_EE_0006_1", noise(36), square(2, (16, 16)))

    report = check_data(tmp_path)
    expected_errors = [
        f"{CASE}_1.tif has no mask; add {CASE}_1_mask.tif",
        f"{CASE}_2_mask.tif has no image; add the slice",
        f"{OTHER}_2.tif is no image or is truncated",
        f"{OTHER}_3_mask.tif is no image or is truncated",
        "TCGA_DD_0005 has slices of sizes [(20, 20), (24, 32)]; export it at one size",
        "TCGA_EE_0006_1_mask.tif is (16, 16) but its image is (24, 32); export both at one size",
        "patients TCGA_BB_0003 and TCGA_CC_0004 have the same slice (",
        "TCGA_CC_0004 and tcga-cc-0004 count as 2 people but differ in spelling",
    ]
    expected_notes = [
        "TCGA_BB_0003 has no slice 2 to 3",
        "TCGA_BB_0003 has no lesion in any slice; its volume Dice is undefined",
        "TCGA_CC_0004 has the same slice again (",
    ]
    for expected, found in ((expected_errors, report.errors), (expected_notes, report.notes)):
        unmatched = list(found)
        for text in expected:
            (match,) = [each for each in unmatched if text in each]
            unmatched.remove(match)
        assert unmatched == []
    assert [finding.error for finding in report.findings] == [True] * 8 + [False] * 3
    assert all("\n" not in finding.text for finding in report.findings)


@pytest.mark.parametrize(
    ("lesions", "patients", "says"),
    [
        (1, 6, "1 of 6 patient"),
        (2, 6, "2 of 6 patient"),
        (2, 3, "2 of 3 patient"),
        (0, 6, "0 of 6 patient"),
        (3, 6, None),
        (2, 2, None),  # that two are few is no matter of lesions
    ],
)
def test_too_few_patients_with_a_lesion(tmp_path, write_slice, noise, square, lesions, patients, says):
    for k in range(patients):
        for scan in (1, 2):  # two scans are no two patients
            stem = f"TCGA_CS_{k:04}_2000010{scan}_1"
            write_slice(tmp_path, stem, noise(10 * k + scan), square(3 if k < lesions and scan == 2 else 0))
    errors = check_data(tmp_path).errors
    assert len(errors) == (says is not None)
    assert not errors or says in errors[0]
    # As long as a mask cannot be read it may hold a lesion.
    (tmp_path / "TCGA_CS_0000_20000101_1_mask.tif").write_bytes(b"")
    assert len(check_data(tmp_path).errors) == 1


def test_a_set_without_any_lesion_is_an_error(tmp_path, write_slice, noise, square):
    write_slice(tmp_path, "TCGA_CS_0001_20000101_1", noise(1), square(0))
    (text,) = check_data(tmp_path).errors
    assert "marks a lesion" in text


def test_an_unreadable_image_does_not_hide_what_is_wrong_with_its_mask(tmp_path, write_set):
    write_set(tmp_path)
    (tmp_path / CASE / f"{CASE}_2.tif").write_bytes(b"")
    tifffile.imwrite(tmp_path / CASE / f"{CASE}_2_mask.tif", np.arange(768, dtype=np.uint16).reshape(24, 32))
    errors = check_data(tmp_path).errors
    assert len(errors) == 2
    assert "_2.tif is no image" in errors[0] and "_2_mask.tif has 768 grey values" in errors[1]


def test_a_case_whose_lesion_cannot_be_read_is_not_called_empty(tmp_path, write_set):
    write_set(tmp_path)
    (tmp_path / CASE / f"{CASE}_2_mask.tif").write_bytes(b"")  # the only one with a lesion
    assert check_data(tmp_path).notes == []


@pytest.mark.parametrize(
    ("channels", "missing"),
    [((1, 1, 2), "pre-contrast"), ((0, 1, 1), "post-contrast"), ((1, 1, 1), "post-contrast, pre-contrast")],
)
def test_a_channel_that_repeats_flair_in_every_slice_is_missing(
    tmp_path, write_slice, noise, square, channels, missing
):
    for n in (1, 2):
        write_slice(tmp_path, f"{CASE}_{n}", noise(n)[..., list(channels)], square(2))
    write_slice(tmp_path, f"{CASE}_3", np.zeros((24, 32, 3), np.uint8), square(0))  # blank: tells nothing
    report = check_data(tmp_path)
    assert report.cases.missing.tolist() == [missing]
    assert report.errors == []
    (note,) = report.notes
    assert note == f"{CASE} has no {missing.replace(', ', ' and no ')}: FLAIR stands in its place"


def test_a_channel_that_repeats_flair_in_one_slice_only_is_there(tmp_path, write_slice, noise, square):
    write_slice(tmp_path, f"{CASE}_1", noise(1)[..., [1, 1, 2]], square(2))
    write_slice(tmp_path, f"{CASE}_2", noise(2), square(2))
    assert check_data(tmp_path).findings == ()


def test_blank_slices_are_no_duplicates(tmp_path, write_slice, noise, square):
    for case_id, seed in ((CASE, 1), (OTHER, 2)):
        write_slice(tmp_path, f"{case_id}_1", noise(seed), square(2))
        for n in (2, 3):  # as above the vertex
            write_slice(tmp_path, f"{case_id}_{n}", np.zeros((24, 32, 3), np.uint8), square(0))
    assert check_data(tmp_path).findings == ()


def test_slices_of_different_spacing_are_an_error(tmp_path, write_slice, noise, square):
    for n in (1, 2):
        tags = {"resolution": (10 * n, 10), "resolutionunit": "CENTIMETER", "description": "spacing_mm=3"}
        write_slice(tmp_path, f"{CASE}_{n}", noise(n), square(2), metadata=None, **tags)
    report = check_data(tmp_path)
    assert report.errors == [f"{CASE} has slices of different spacing; export it with one spacing"]
    assert report.cases.spacing_mm[0] == pytest.approx((3, 1, 1))  # of the first slice


def test_files_refused_for_one_reason_are_told_once(tmp_path, write_slice, noise, square):
    for n in range(1, 7):
        write_slice(tmp_path, f"{CASE}_{n}", noise(n), square(2), extratags=[(274, "H", 1, 4, True)])
    write_slice(tmp_path, f"{CASE}_7", noise(7), square(2), extratags=[(274, "H", 1, 3, True)])
    (tmp_path / f"{CASE}_8_mask.tif").write_bytes(b"")
    write_slice(tmp_path, f"{CASE}_8", noise(8))
    errors = check_data(tmp_path).errors
    assert len(errors) == 3
    (many,) = [text for text in errors if "orientation tag 4" in text]
    assert f"{CASE}_1.tif" in many and "5 more" in many


def test_faults_of_pixels_are_errors_of_the_report(tmp_path, write_slice, noise):
    for n in range(1, 4):
        write_slice(tmp_path, f"{CASE}_{n}", noise(n), np.ones((24, 32), bool))
    (error,) = check_data(tmp_path).errors
    assert CASE in error and "3 of 3 masks" in error


@pytest.mark.parametrize(("other", "errors"), [(2, 1), (255, 0), (1, 0)])
def test_labels_are_compared_over_the_whole_set(tmp_path, write_slice, noise, square, other, errors):
    for n, (case_id, label) in enumerate(((CASE, 1), (CASE, 1), (OTHER, other)), start=1):
        write_slice(tmp_path, f"{case_id}_{n}", noise(n))
        tifffile.imwrite(tmp_path / f"{case_id}_{n}_mask.tif", square(3).astype(np.uint8) * label)
    found = check_data(tmp_path).errors
    assert len(found) == errors
    assert all("(1, 2)" in text and f"{OTHER}_3_mask.tif" in text for text in found)


def test_progress_counts_scans(tmp_path, write_set):
    calls = []
    check_data(write_set(tmp_path), on_case=lambda *counts: calls.append(counts))
    assert calls == [(1, 2), (2, 2)]


def test_a_set_without_a_readable_slice_is_still_reported(tmp_path, write_slice, noise, square):
    write_slice(tmp_path, f"{CASE}_1", noise(1), square(2)).write_bytes(b"")
    report = check_data(tmp_path)
    assert report.cases[["height", "width"]].to_numpy().tolist() == [[0, 0]]
    assert len(report.errors) == 1


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(MetsegError, match="holds no scan"):
        check_data(tmp_path)


@pytest.mark.parametrize(
    ("case_ids", "provenance"),
    [
        (["TCGA_CS_4941_19960909", "TCGA_DU_5849_19950405"], LGG),
        (["PHANTOM_0001_20000101"], PHANTOM),
        (["clinic_1"], OWN),
        (["TCGA_CS_4941_19960909", "PHANTOM_0001_20000101"], LGG),
        (["TCGA_06_0119_20010101"], OWN),
    ],
)
def test_provenance_is_told_by_the_names(case_ids, provenance):
    assert provenance_of(case_ids) is provenance


def test_the_glioma_set_is_never_called_metastasis():
    assert "glioma" in LGG.caution and "not metastasis" in LGG.caution
    assert LGG.licence == "CC BY-NC-SA 4.0"


def test_a_tiff_of_another_name_is_noted_for_it_will_not_be_used(tmp_path, write_set):
    write_set(tmp_path)
    tifffile.imwrite(tmp_path / "brain.tif", np.zeros((4, 4), np.uint8))
    (note,) = check_data(tmp_path).notes
    assert note.startswith("1 image files") and str(tmp_path / "brain.tif") in note


def test_an_institution_is_told_by_the_name():
    assert institution_of("TCGA_DU_1234_20000101") == "DU"
    assert institution_of("PHANTOM_0001_20000101") == institution_of("TCGA_XX_1") == "unknown"


# Who is who


def test_visits_of_one_person_are_one_row_of_who_is_who(tmp_path, write_slice, noise, square):
    for n, case_id in enumerate(("sub-01_ses-1", "sub-01_ses-2", "sub-02_ses-1")):
        write_slice(tmp_path, f"{case_id}_1", noise(n), square(2 + n))
    report = check_data(tmp_path)
    assert report.errors == []
    assert report.people.to_numpy().tolist() == [
        ["sub-01", "sub-01_ses-1, sub-01_ses-2", "ses-1, ses-2", "BIDS"],
        ["sub-02", "sub-02_ses-1", "ses-1", "BIDS"],
    ]
    assert report.how_read == "6 files: 3 single slices; 2 patients, told by BIDS"


def test_a_pattern_tells_who_is_who(tmp_path, write_slice, noise, square):
    for n, case_id in enumerate(("AB1", "AB2", "CD1")):
        write_slice(tmp_path, f"{case_id}_1", noise(n), square(2 + n))
    report = check_data(tmp_path, pattern=r"(?P<patient>[A-Z]+)(?P<visit>\d)")
    assert report.cases.patient_id.tolist() == ["AB", "AB", "CD"]
    assert report.cases.visit.tolist() == ["1", "2", "1"]


def test_people_whose_names_leave_it_open_are_an_error_until_a_table_says_so(
    tmp_path, write_slice, noise, square
):
    for n, case_id in enumerate(("P1_A", "P1_B", "P2_A")):
        write_slice(tmp_path, f"{case_id}_1", noise(n), square(2 + n))
    (error,) = check_data(tmp_path).errors
    assert "P1_A" in error and "P1_B" in error and "patients.csv" in error
    (tmp_path / "patients.csv").write_text("case_id,patient_id\nP1_A,P1\nP1_B,P1\n")
    report = check_data(tmp_path)
    assert report.errors == [] and report.cases.patient_id.tolist() == ["P1", "P1", "P2_A"]


def test_one_lesion_in_two_people_is_an_error_and_small_ones_are_chance(tmp_path, write_slice, noise, square):
    write_slice(tmp_path, "P1_1", noise(1), square(5))
    write_slice(tmp_path, "P2_1", noise(2), square(5))
    write_slice(tmp_path, "P3_1", noise(3), square(4))
    write_slice(tmp_path, "P4_1", noise(4), square(4))  # 16 px
    (error,) = check_data(tmp_path).errors
    assert "P1 and P2" in error and "P1_1_mask.tif" in error and "P2_1_mask.tif" in error
    (tmp_path / "patients.csv").write_text("case_id,patient_id\nP1,anna\nP2,anna\n")
    assert check_data(tmp_path).errors == []
