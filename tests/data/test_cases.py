"""Files become cases, or one sentence that names the file and the remedy."""

import numpy as np
import pytest
from complaints import complaint, tiff

from metseg.data.cases import CaseFiles, SliceFiles, find_cases, list_cases, load_case, patient_of

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


@pytest.mark.parametrize(
    ("case_id", "patient_id"),
    [
        ("TCGA_CS_4941_19960909", "TCGA_CS_4941"),
        ("TCGA_CS_4941_19960909_2", "TCGA_CS_4941_19960909_2"),  # the date stands last
        ("patient7", "patient7"),
        ("patient_1234567", "patient_1234567"),  # seven digits are no date
        ("_19960909", ""),
    ],
)
def test_patient_of_cuts_the_date_of_the_scan(case_id, patient_id):
    assert patient_of(case_id) == patient_id


def test_a_missing_and_an_empty_folder_are_told_apart(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    assert "missing is not a folder; give the one" in complaint(list_cases, tmp_path / "missing")
    assert "file is not a folder; give the one" in complaint(list_cases, tmp_path / "file")
    assert "empty holds no scan; expected files such as" in complaint(list_cases, tmp_path / "empty")


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
    assert f"{CASE}_1" in text and f"{CASE}_01" in text and "remove one" in text


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


# Good files


def test_load_case_states_shapes_types_and_spacing(tmp_path, write_slice, noise, square):
    tags = {"resolution": (10, 10), "resolutionunit": "CENTIMETER", "description": "spacing_mm=3"}
    for n in (1, 2):
        write_slice(tmp_path, f"{CASE}_{n}", noise(n), square(n), metadata=None, **tags)
    case = load_case(find_cases(tmp_path)[0])
    assert case.image.shape == (2, 24, 32, 3) and case.image.dtype == np.uint8
    assert case.mask.shape == (2, 24, 32) and case.mask.dtype == bool
    assert case.spacing_mm == pytest.approx((3, 1, 1))
    assert (case.case_id, case.patient_id) == (CASE, "TCGA_CS_0001")


# Bad images


def test_slices_of_two_sizes_are_refused(tmp_path, write_slice, noise, square):
    write_slice(tmp_path, f"{CASE}_1", noise(1), square(1))
    write_slice(tmp_path, f"{CASE}_2", noise(2, (20, 20)), square(1, (20, 20)))
    text = complaint(load_case, find_cases(tmp_path)[0])
    assert f"{CASE}_2.tif is (20, 20) but the first slice of {CASE} is (24, 32)" in text


# Masks


def test_the_first_wrong_file_is_named(tmp_path, write_set):
    write_set(tmp_path)
    path = tmp_path / CASE / f"{CASE}_2_mask.tif"
    path.write_bytes(b"")
    assert str(path) in complaint(load_case, find_cases(tmp_path)[0])


def test_a_file_that_vanished_after_listing_is_named(tmp_path):
    gone = SliceFiles(1, tmp_path / "a_1.tif", tmp_path / "a_1_mask.tif")
    assert "a_1.tif cannot be opened" in complaint(load_case, CaseFiles("a", "a", (gone,)))
