"""What a file's name and its folders say."""

from pathlib import Path

import pytest

from metseg.data.layouts.slices import people_folders, place_of

HOME = Path("/set")


@pytest.mark.parametrize(
    ("name", "case_id", "slice_index", "is_mask", "patient_id", "visit"),
    [
        ("P1/P1_3.tif", "P1", 3, False, "P1", None),
        ("P1/P1_3_mask.tif", "P1", 3, True, "P1", None),
        ("images/P1_3.tif", "P1", 3, False, "P1", None),
        ("masks/P1_3.tif", "P1", 3, True, "P1", None),
        ("labels/P1_3_mask.png", "P1", 3, True, "P1", None),
        ("P1/masks/P1_3.tif", "P1", 3, True, "P1", None),
        ("BraTS-GLI-00001-000_7.tif", "BraTS-GLI-00001-000", 7, False, "BraTS-GLI-00001", "000"),
        ("sub-01_ses-1_7.tif", "sub-01_ses-1", 7, False, "sub-01", "ses-1"),
        ("P1_2024-01-15_7.tif", "P1_2024-01-15", 7, False, "P1", "2024-01-15"),
        # A date, a visit, a data set's number are no slice's number.
        ("P7_20240101.tif", "P7_20240101", 1, False, "P7", "20240101"),
        ("H_20010106_mask.tif", "H_20010106", 1, True, "H", "20010106"),
        ("P1_2001_01_05.tif", "P1_2001_01_05", 1, False, "P1", "2001_01_05"),
        ("BraTS20_Training_001.png", "BraTS20_Training_001", 1, False, "BraTS20_Training_001", None),
        ("BraTS20_Training_001_55.png", "BraTS20_Training_001", 55, False, "BraTS20_Training_001", None),
        # A name that tells nobody is told by its folders.
        ("Patient1/visit0/slice_4.tif", "Patient1_visit0", 4, False, "Patient1", "visit0"),
        ("Patient1/visit0/Patient1_4.tif", "Patient1_visit0", 4, False, "Patient1", "visit0"),
        ("Patient1/visit0/abc_4.tif", "Patient1_visit0_abc", 4, False, "Patient1", "visit0"),
        ("YG_001/2015-03-04/4.png", "YG_001_2015-03-04", 4, False, "YG_001", "2015-03-04"),
        ("sub-01/ses-1/4.png", "sub-01_ses-1", 4, False, "sub-01", "ses-1"),
        ("P1/slice_4.png", "P1", 4, False, "P1", None),
        ("train/P1_4.png", "P1", 4, False, "P1", None),
        ("image_4.png", "image", 4, False, "image", None),
    ],
)
def test_place_of_a_file(name, case_id, slice_index, is_mask, patient_id, visit):
    place = place_of(HOME / name, HOME)
    assert (place.case_id, place.slice_index, place.is_mask) == (case_id, slice_index, is_mask)
    assert place.who[:2] == (patient_id, visit)


@pytest.mark.parametrize("number", ["12345", "1" * 30, "9" * 200, "20249999", "20240101123000"])
def test_a_number_that_no_slice_has_is_none(number):
    assert place_of(HOME / f"P1_{number}.tif", HOME).slice_index is None


def test_leading_zeros_are_no_digits():
    assert place_of(HOME / "P1_000000007.tif", HOME).slice_index == 7


def test_a_name_that_is_known_to_be_a_scan_has_one_slice():
    place = place_of(HOME / "image_4.png", HOME, scans={"image_4"})
    assert (place.case_id, place.slice_index, place.numbered) == ("image_4", 1, False)


@pytest.mark.parametrize(
    ("name", "is_of_volume"),
    [
        ("P1/P1_3.tif", True),  # in a folder of its name
        ("TCGA_CS_4941_19960909_3.tif", True),  # a data set's name
        ("sub-01/ses-1/3.tif", True),
        ("image_3.png", False),
        ("strangers/image_3.png", False),
        ("P1_3.tif", False),
        ("export_2024-01-15_3.png", False),  # the day that strangers were exported
        ("2024-01-15/image_3.png", False),
        ("P7_20240101.tif", False),
    ],
)
def test_a_volume_is_one_by_construction(name, is_of_volume):
    assert place_of(HOME / name, HOME).is_of_volume == is_of_volume


def test_folders_that_hold_many_people_are_nobodys():
    assert people_folders(("kaggle_3m", "TCGA_CS_4941")) == ("TCGA_CS_4941",)
    assert people_folders(("a", "train")) == ()
    assert people_folders(("site_2", "P1", "left")) == ("P1", "left")
    assert people_folders(("patient1", "left")) == ("patient1", "left")
