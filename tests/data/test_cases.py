"""Files become cases, or one sentence that names the file and the remedy."""

import numpy as np
import pytest
from complaints import complaint, tiff
from PIL import Image
from volume_set import write_volumes

from metseg.data.cases import (
    CaseFiles,
    SliceFiles,
    count_scans,
    find_cases,
    how_read,
    list_cases,
    load_case,
)
from metseg.data.check_people import doubtful
from metseg.data.readers import nifti

CASE = "TCGA_CS_0001_19990101"


# Layouts


def test_a_folder_for_each_patient_and_all_in_one_are_the_same_cases(tmp_path, write_set):
    nested, flat = (
        find_cases(write_set(tmp_path / name, flat=flat)) for name, flat in (("n", False), ("f", True))
    )
    assert [case.case_id for case in nested] == ["TCGA_CS_0001_19990101", "TCGA_CS_0002_19990102"]
    assert [case.patient_id for case in nested] == ["TCGA_CS_0001", "TCGA_CS_0002"]
    assert [[files.slice_index for files in case.slices] for case in nested] == [[1, 2], [1, 2, 3]]
    assert nested[0].slices[0].image == tmp_path / "n" / CASE / f"{CASE}_1.tif"
    assert nested[0].slices[0].mask == tmp_path / "n" / CASE / f"{CASE}_1_mask.tif"
    assert flat[0].slices[0].image == tmp_path / "f" / f"{CASE}_1.tif"
    for one, other in zip(nested, flat, strict=True):
        assert (load_case(one).image == load_case(other).image).all()
        assert (load_case(one).mask == load_case(other).mask).all()


def test_slices_are_ordered_by_number_not_by_name(tmp_path, write_slice, noise, square):
    for n in (10, 9, 1):
        write_slice(tmp_path, f"{CASE}_{n}", noise(n), square(n))
    (case,) = find_cases(tmp_path)
    loaded = load_case(case)
    assert loaded.slice_index == (1, 9, 10)
    assert [mask.sum() for mask in loaded.mask] == [1, 81, 100]
    assert (loaded.image[1] == noise(9)).all()


def test_other_files_and_hidden_ones_are_passed_over(tmp_path, write_set):
    write_set(tmp_path)
    (tmp_path / "data.csv").write_text("Patient,grade\n")
    (tmp_path / CASE / f"._{CASE}_1.tif").write_bytes(b"what macOS leaves in archives")
    (tmp_path / CASE / "overview.tif").write_bytes(b"")
    assert [len(case.slices) for case in find_cases(tmp_path)] == [2, 3]


def test_upper_case_suffixes_are_read(tmp_path, noise, square):
    tiff(tmp_path / "A_1.TIF", noise(1), photometric="rgb")
    tiff(tmp_path / "A_1_MASK.TIFF", square(3).astype(np.uint8))
    (case,) = find_cases(tmp_path)
    assert load_case(case).mask.sum() == 9


def test_one_header_of_a_scan_of_volumes_is_read_once(tmp_path, monkeypatch):
    read, read_header = [], nifti.read_header
    monkeypatch.setattr(nifti, "read_header", lambda path, name: read.append(path) or read_header(path, name))
    cases = find_cases(write_volumes(tmp_path), target="ET")
    assert read == []
    text = how_read(cases)
    assert text.startswith("36 files: 9 scans of 3 slices; 6 patients") and "BraTS: ET (3)" in text
    assert [case.slice_numbers for case in cases] == [(0, 1, 2)] * 9
    assert read == [case.volumes.sequences["t1c"] for case in cases]
    assert how_read(cases) == text and len(read) == 9


def test_volumes_without_a_reference_are_named(tmp_path):
    (write_volumes(tmp_path) / "BraTS-MET-00002-000" / "BraTS-MET-00002-000-seg.nii.gz").unlink()
    assert "BraTS-MET-00002-000 has no reference" in complaint(find_cases, tmp_path)


def test_a_missing_and_an_empty_folder_are_told_apart(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    assert "missing is not a folder; give the one" in complaint(list_cases, tmp_path / "missing")
    assert "file is not a folder; give the one" in complaint(list_cases, tmp_path / "file")
    assert "empty holds no scan; expected files such as" in complaint(list_cases, tmp_path / "empty")
    (tmp_path / "dicom").mkdir()
    (tmp_path / "dicom" / "IM1").write_bytes(bytes(128) + b"DICM")
    assert "holds DICOM, but no scan" in complaint(list_cases, tmp_path / "dicom")


def test_a_scan_in_two_folders_is_refused(tmp_path, write_set):
    write_set(tmp_path / "a")
    write_set(tmp_path / "b")
    text = complaint(list_cases, tmp_path)
    assert CASE in text and str(tmp_path / "a" / CASE) in text and str(tmp_path / "b" / CASE) in text
    assert "name the folder of one copy" in text


def test_one_slice_under_two_names_is_refused(tmp_path, write_slice, noise, square):
    write_slice(tmp_path, f"{CASE}_1", noise(1), square(1))
    write_slice(tmp_path, f"{CASE}_01", noise(1), square(1))
    text = complaint(list_cases, tmp_path)
    assert f"{CASE}_1" in text and f"{CASE}_01" in text


@pytest.mark.parametrize(
    ("gone", "sentence"),
    [
        (f"{CASE}_2_mask.tif", f"{CASE}_2.tif has no mask; add {CASE}_2_mask.tif"),
        (f"{CASE}_2.tif", f"{CASE}_2_mask.tif has no image; add the slice"),
    ],
)
def test_half_a_pair_is_listed_but_not_found(tmp_path, write_set, gone, sentence):
    write_set(tmp_path)
    (tmp_path / CASE / gone).unlink()
    case = list_cases(tmp_path)[0]
    assert sentence in complaint(find_cases, tmp_path)
    assert sentence in complaint(load_case, case)
    assert (case.slices[1].mask is None) == ("mask" in gone)
    assert (case.slices[1].image is None) == ("mask" not in gone)


# What lies in a folder


def write_png(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_masks_in_a_folder_of_their_own(tmp_path, write_slice, noise, square):
    for n in (1, 2):
        write_slice(tmp_path / "images", f"P1_{n}", noise(n))
        tiff(tmp_path / f"P1_{n}.tif", square(n).astype(np.uint8) * 255)
        (tmp_path / "masks").mkdir(exist_ok=True)
        (tmp_path / f"P1_{n}.tif").rename(tmp_path / "masks" / f"P1_{n}.tif")
    (case,) = find_cases(tmp_path)
    assert load_case(case).mask.sum(axis=(1, 2)).tolist() == [1, 4]


def test_a_set_of_png_files(tmp_path, noise, square):
    for n in (1, 2):
        write_png(tmp_path / f"P1_{n}.png", noise(n))
        write_png(tmp_path / f"P1_{n}_mask.png", square(n).astype(np.uint8) * 255)
    (case,) = find_cases(tmp_path)
    loaded = load_case(case)
    assert (loaded.image[1] == noise(2)).all() and loaded.mask.sum() == 5


def test_pictures_beside_tiff_slices_are_previews(tmp_path, write_set, noise):
    write_set(tmp_path)
    write_png(tmp_path / CASE / f"{CASE}_1.png", noise(9))
    assert find_cases(tmp_path)[0].slices[0].image.suffix == ".tif"


def test_scans_of_a_person_lie_in_folders_of_visits(tmp_path, write_slice, noise, square):
    for visit in ("visit0", "visit1"):
        for person in ("Patient1", "Patient2"):
            write_slice(tmp_path / person / visit, "slice_1", noise(1), square(1))
    assert [(c.case_id, c.patient_id, c.visit) for c in find_cases(tmp_path)] == [
        ("Patient1_visit0", "Patient1", "visit0"),
        ("Patient1_visit1", "Patient1", "visit1"),
        ("Patient2_visit0", "Patient2", "visit0"),
        ("Patient2_visit1", "Patient2", "visit1"),
    ]


def test_dated_slices_are_scans_of_a_slice_each(tmp_path, write_slice, noise, square):
    for day in range(1, 4):
        write_slice(tmp_path, f"H_2001010{day}", noise(day), square(day))
    cases = find_cases(tmp_path)
    assert [(case.case_id, case.patient_id, len(case.slices)) for case in cases] == [
        (f"H_2001010{day}", "H", 1) for day in range(1, 4)
    ]


def test_a_number_that_is_no_slice_is_refused(tmp_path, write_slice, noise, square):
    path = write_slice(tmp_path, "SCAN1_179049373636438705059720603111", noise(1), square(1))
    assert str(path) in complaint(list_cases, tmp_path)


def test_a_folder_without_scans_says_what_lies_there(tmp_path):
    for name in ("a.nii.gz", "b.gz", "c.txt"):
        (tmp_path / name).touch()
    assert "2 files of .gz" in complaint(list_cases, tmp_path)


# Who is who


def test_a_table_overrides_the_names(tmp_path, write_slice, noise, square):
    for n in (1, 2, 3):
        write_slice(tmp_path, f"image_{n}", noise(n), square(n))
    assert [len(case.slices) for case in find_cases(tmp_path)] == [3]
    # By the table they are a person's only slice each, and no scan.
    (tmp_path / "patients.csv").write_text("case_id,patient_id\nimage_1,anna\nimage_2,bob\nimage_3,anna\n")
    cases = find_cases(tmp_path)
    assert [(case.case_id, case.patient_id) for case in cases] == [
        ("image_1", "anna"), ("image_2", "bob"), ("image_3", "anna"),
    ]  # fmt: skip
    assert doubtful(cases) == []


def test_a_table_of_another_set_is_refused(tmp_path, write_set):
    write_set(tmp_path)
    (tmp_path / "patients.csv").write_text("case_id,patient_id\nTCGA_CS_0001_1999010,anna\n")
    text = complaint(list_cases, tmp_path)
    assert "patients.csv" in text and "TCGA_CS_0001_1999010," in text and CASE in text
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "patients.csv").touch()
    assert str(tmp_path / "more" / "patients.csv") in complaint(list_cases, tmp_path)


def test_a_table_that_tears_a_scan_apart_is_refused(tmp_path, write_slice, noise, square):
    for n in (1, 2, 3):
        write_slice(tmp_path, f"P1_{n}", noise(n), square(n))
    (tmp_path / "patients.csv").write_text("case_id,patient_id\nP1_1,anna\nP1_2,anna\n")
    text = complaint(list_cases, tmp_path)
    assert "P1_1" in text and "patients.csv" in text


@pytest.mark.parametrize("name", ["Patients.csv", "patients (1).csv", "patient.csv", "patients.xlsx"])
def test_a_table_under_another_name_is_never_ignored(tmp_path, write_set, name):
    write_set(tmp_path)
    (tmp_path / name).write_text("case_id,patient_id\n")
    assert name in complaint(list_cases, tmp_path)


def test_scans_of_pictures_beside_scans_of_tiff_files(tmp_path, write_set, noise, square):
    write_set(tmp_path)
    write_png(tmp_path / "P7_1.png", noise(1))
    write_png(tmp_path / "P7_1_mask.png", square(2).astype(np.uint8) * 255)
    write_png(tmp_path / "overlay_1.png", noise(2))  # no mask: no scan of the set
    assert [case.case_id for case in find_cases(tmp_path)] == ["P7", CASE, "TCGA_CS_0002_19990102"]


def test_folders_tell_whom_a_bare_word_does_not(tmp_path, write_slice, noise, square):
    for person in ("P0", "P4"):
        write_slice(tmp_path / person, "scan_2024-01-01_1", noise(1), square(1))
    assert [case.patient_id for case in find_cases(tmp_path)] == ["P0", "P4"]


def test_people_in_one_folder_of_several_are_doubted(tmp_path, write_slice, noise, square):
    for home, case_id in (("Patient1", "A"), ("Patient1", "B"), ("Patient2", "C")):
        write_slice(tmp_path / home, f"{case_id}_1", noise(1), square(1))
    (text,) = doubtful(find_cases(tmp_path))
    assert "A and B" in text and "Patient1" in text


def test_how_files_were_read_is_said(tmp_path, write_set):
    assert how_read(find_cases(write_set(tmp_path))) == (
        "10 files: 2 scans of 2 to 3 slices; 2 patients, told by TCGA"
    )
    assert count_scans([36]) == "1 scan of 36 slices"
    assert count_scans([1]) == "1 single slice"
    assert count_scans([1, 1, 1]) == "3 single slices"


# Good files


def test_load_case_states_shapes_types_and_spacing(tmp_path, write_slice, noise, square):
    tags = {"resolution": (10, 10), "resolutionunit": "CENTIMETER", "description": "spacing_mm=3"}
    for n in (1, 2):
        write_slice(tmp_path, f"{CASE}_{n}", noise(n), square(n), metadata=None, **tags)
    case = load_case(find_cases(tmp_path)[0])
    assert case.image.shape == (2, 24, 32, 3) and case.image.dtype == np.uint8
    assert case.mask.shape == (2, 24, 32) and case.mask.dtype == bool
    assert case.volume.spacing_mm == pytest.approx((3, 1, 1))
    assert (case.case_id, case.patient_id) == (CASE, "TCGA_CS_0001")


# Bad images


def test_slices_of_two_sizes_are_refused(tmp_path, write_slice, noise, square):
    write_slice(tmp_path, f"{CASE}_1", noise(1), square(1))
    write_slice(tmp_path, f"{CASE}_2", noise(2, (20, 20)), square(1, (20, 20)))
    text = complaint(load_case, find_cases(tmp_path)[0])
    assert f"{CASE}_2.tif is (20, 20) but the first slice of {CASE} is (24, 32)" in text


# Masks


@pytest.mark.parametrize(("labels", "fits"), [((1, 2), False), ((1, 255), True), ((2, 2), True)])
def test_classes_of_a_scan_are_never_merged(tmp_path, write_slice, noise, square, labels, fits):
    for n, label in enumerate(labels, start=1):
        write_slice(tmp_path, f"{CASE}_{n}", noise(n))
        tiff(tmp_path / f"{CASE}_{n}_mask.tif", square(n).astype(np.uint8) * label)
    (case,) = find_cases(tmp_path)
    if fits:
        assert load_case(case).mask.sum() == 5
    else:
        assert f"{CASE}_2_mask.tif" in complaint(load_case, case)


def test_the_first_wrong_file_is_named(tmp_path, write_set):
    write_set(tmp_path)
    path = tmp_path / CASE / f"{CASE}_2_mask.tif"
    path.write_bytes(b"")
    assert str(path) in complaint(load_case, find_cases(tmp_path)[0])


def test_a_file_that_vanished_after_listing_is_named(tmp_path):
    gone = SliceFiles(1, tmp_path / "a_1.tif", tmp_path / "a_1_mask.tif")
    assert "a_1.tif cannot be opened" in complaint(load_case, CaseFiles("a", "a", (gone,)))
